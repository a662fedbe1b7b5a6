"""Every text of the page, in every language that it speaks: one line each, and none elsewhere."""

from __future__ import annotations

from collections.abc import Callable

LANGUAGES = {"en": "English", "zh": "中文", "ru": "Русский", "ko": "한국어"}

Say = Callable[..., str]  # a text by its name, with what goes into it

# name: English, Chinese, Russian, Korean
TEXTS: dict[str, tuple[str, str, str, str]] = {
    # the page
    "tagline": ("Text to video that nobody can switch off.", "谁也关不掉的文字生成视频。", "Видео из текста, которое никто не выключит.", "아무도 끌 수 없는 텍스트-비디오."),
    "language": ("Language", "语言", "Язык", "언어"),
    "sign_out": ("Sign out", "退出", "Выйти", "로그아웃"),
    "make": ("Make", "制作", "Создать", "만들기"),
    "clips": ("My clips", "我的短片", "Мои клипы", "내 클립"),
    "queue": ("Queue", "队列", "Очередь", "대기열"),
    "gallery": ("Gallery", "画廊", "Галерея", "갤러리"),
    "letter": ("Open letter", "公开信", "Открытое письмо", "공개서한"),
    # the form
    "prompt": ("What do you want to see?", "你想看到什么？", "Что вы хотите увидеть?", "무엇을 보고 싶으세요?"),
    "prompt_hint": ("One sentence is enough.", "一句话就够了。", "Достаточно одного предложения.", "한 문장이면 충분합니다."),
    "reads_english": ("{model} reads English only.", "{model} 只读得懂英文，请用英文书写。", "{model} понимает только английский: пишите по-английски.", "{model} 모델은 영어만 이해합니다. 영어로 적어 주세요."),
    "resolution": ("Resolution", "分辨率", "Разрешение", "해상도"),
    "shape": ("Shape", "画幅", "Формат кадра", "화면 비율"),
    "wide": ("Wide 16:9", "横屏 16:9", "Широкий 16:9", "가로 16:9"),
    "tall": ("Tall 9:16", "竖屏 9:16", "Высокий 9:16", "세로 9:16"),
    "square": ("Square 1:1", "方形 1:1", "Квадрат 1:1", "정사각 1:1"),
    "length": ("Length", "时长", "Длительность", "길이"),
    "n_seconds": ("{n} s", "{n} 秒", "{n} с", "{n}초"),
    "n_minutes": ("{n} min", "{n} 分钟", "{n} мин", "{n}분"),
    "n_hours": ("{n} h", "{n} 小时", "{n} ч", "{n}시간"),
    "more": ("More", "更多", "Ещё", "더 보기"),
    "model": ("Model", "模型", "Модель", "모델"),
    "seed": ("Seed", "种子", "Зерно", "시드"),
    "seed_hint": ("Empty: a new one. The same seed makes the same film.", "留空则随机。种子相同，影片相同。", "Пусто — новое. То же зерно даёт тот же фильм.", "비워 두면 새로 뽑습니다. 시드가 같으면 영상도 같습니다."),
    "variants": ("Variants", "版本数", "Варианты", "변형 수"),
    "variants_hint": ("Each has a seed of its own.", "每个版本各有种子。", "У каждого своё зерно.", "각각 다른 시드를 씁니다."),
    "negative": ("What you don't want to see", "你不想看到什么", "Чего видеть не хочется", "보고 싶지 않은 것"),
    "steps": ("Steps", "步数", "Шаги", "단계 수"),
    "guidance": ("Guidance", "引导强度", "Следование словам", "가이던스"),
    "fps": ("Frames a second", "每秒帧数", "Кадров в секунду", "초당 프레임"),
    "by_model": ("Empty: as the model likes it.", "留空则由模型决定。", "Пусто — как привычно модели.", "비워 두면 모델이 정합니다."),
    "draft": ("Draft: a quick try, which goes first", "草稿：快速试作，优先处理", "Черновик: быстрая проба, идёт первой", "초안: 먼저 처리되는 빠른 시도"),
    "expand": ("Expand my prompt", "扩写我的文字", "Расширить мой текст", "내 문구 확장하기"),
    "expanded": ("This is what will be sent; change it as you like", "将发送以下内容，可随意修改", "Вот что будет отправлено; правьте как угодно", "이대로 전송됩니다. 마음대로 고치세요"),
    "generate": ("Generate", "生成", "Создать видео", "생성"),
    "bring": ("A picture to start from, or a film whose settings to use", "用作开头的图片，或要沿用其设置的影片", "Картинка для начала или фильм, чьи настройки взять", "시작할 그림, 또는 설정을 가져올 영상"),
    "bring_choose": ("Choose a file", "选择文件", "Выбрать файл", "파일 고르기"),
    "bring_hint": ("Or drop it here. A film is read in your browser and sent nowhere.", "或拖放到此处。影片只在你的浏览器中读取，不会上传。", "Или бросьте его сюда. Фильм читается в браузере и никуда не отправляется.", "여기에 놓아도 됩니다. 영상은 브라우저 안에서만 읽고 어디에도 보내지 않습니다."),
    "bring_remove": ("Remove the picture", "移除图片", "Убрать картинку", "그림 빼기"),
    "bring_alt": ("The picture to start from", "用作开头的图片", "Картинка для начала", "시작할 그림"),
    "bring_bad": ("This is neither a picture nor a film that Unstrung made.", "这既不是图片，也不是 Unstrung 制作的影片。", "Это не картинка и не фильм, созданный Unstrung.", "그림도 아니고 Unstrung이 만든 영상도 아닙니다."),
    "bring_large": ("The picture is larger than 14 MB.", "图片超过 14 MB。", "Картинка больше 14 МБ.", "그림이 14MB보다 큽니다."),
    "reused": ("These are its settings: change what you like.", "已载入其设置，可随意修改。", "Это его настройки: меняйте что угодно.", "설정을 불러왔습니다. 원하는 대로 바꾸세요."),
    # a video on its way
    "sent": ("It is in the queue. You may close this page: it goes on.", "已进入队列。你可以关闭此页，制作会继续。", "Видео в очереди. Страницу можно закрыть: работа продолжится.", "대기열에 넣었습니다. 이 페이지를 닫아도 계속 진행됩니다."),
    "progress": ("Progress", "进度", "Ход работы", "진행률"),
    "waiting": ("Waiting: {n} before it", "等待中：前面还有 {n} 个", "Ожидает: впереди {n}", "대기 중: 앞에 {n}개"),
    "next": ("Next in line", "下一个就是它", "Следующее на очереди", "바로 다음 차례"),
    "starts_in": ("begins in about {time}", "约 {time} 后开始", "начнётся примерно через {time}", "약 {time} 후 시작"),
    "ends_in": ("done in about {time}", "约 {time} 后完成", "будет готово примерно через {time}", "약 {time} 후 완성"),
    "nobody": ("nobody is at work now, or the queue is paused", "目前没有人在工作，或队列已暂停", "сейчас никто не работает или очередь стоит на паузе", "지금은 작업자가 없거나 대기열이 멈춰 있습니다"),
    "beginning": ("Being made: it begins", "制作中：刚开始", "Создаётся: начало", "만드는 중: 시작하는 중"),
    "making": ("Being made: {n} %", "制作中：{n}%", "Создаётся: {n} %", "만드는 중: {n}%"),
    "left": ("about {time} left", "约剩 {time}", "осталось примерно {time}", "약 {time} 남음"),
    "finishing": ("Being made: the film is being written", "制作中：正在写入影片", "Создаётся: фильм записывается", "만드는 중: 영상을 쓰는 중"),
    "lost": ("The server does not answer; trying again. What is in the queue stays there.", "服务器没有响应，正在重试。队列中的内容不会丢失。", "Сервер не отвечает, пробуем снова. Всё в очереди сохранится.", "서버가 응답하지 않아 다시 시도하고 있습니다. 대기열은 그대로 남아 있습니다."),
    "failed": ("This failed: {why}", "制作失败：{why}", "Не вышло: {why}", "실패했습니다: {why}"),
    "canceled": ("Canceled. The words and the last preview stay.", "已取消。文字和最后的预览会保留。", "Отменено. Текст и последний эскиз сохранены.", "취소되었습니다. 문구와 마지막 미리보기는 남습니다."),
    "preview_of": ("A first look at: {prompt}", "预览：{prompt}", "Первый взгляд: {prompt}", "미리보기: {prompt}"),
    "film_of": ("Film: {prompt}", "影片：{prompt}", "Фильм: {prompt}", "영상: {prompt}"),
    "no_preview": ("There is nothing to see yet", "还没有画面", "Пока ничего не видно", "아직 보여 드릴 것이 없습니다"),
    # what can be done with one
    "cancel": ("Cancel", "取消", "Отменить", "취소"),
    "retry": ("Try again", "重试", "Попробовать снова", "다시 시도"),
    "download": ("Download", "下载", "Скачать", "내려받기"),
    "again": ("Again, new seed", "换种子再来", "Ещё раз, новое зерно", "새 시드로 다시"),
    "larger": ("Same seed, {size}", "同种子，{size}", "То же зерно, {size}", "같은 시드, {size}"),
    "reuse": ("Use these settings", "沿用这些设置", "Взять эти настройки", "이 설정 쓰기"),
    "publish": ("Publish", "发布", "Опубликовать", "공개하기"),
    "publish_ask": ("Everybody who may open this page will see the film, its words and its recipe.", "所有能打开此页的人都将看到影片、文字和配方。", "Фильм, его текст и рецепт увидят все, кому открыта эта страница.", "이 페이지를 열 수 있는 모두가 영상과 문구, 레시피를 보게 됩니다."),
    "publish_yes": ("Yes, publish it", "是的，发布", "Да, опубликовать", "네, 공개합니다"),
    "unpublish": ("Take it out of the gallery", "从画廊撤下", "Убрать из галереи", "갤러리에서 내리기"),
    "published": ("Published", "已发布", "Опубликовано", "공개됨"),
    "remove": ("Delete", "删除", "Удалить", "삭제"),
    "remove_ask": ("The film, its words and its recipe will be gone for good.", "影片、文字和配方将被永久删除。", "Фильм, его текст и рецепт исчезнут навсегда.", "영상과 문구, 레시피가 영영 사라집니다."),
    "remove_yes": ("Yes, delete it", "是的，删除", "Да, удалить", "네, 삭제합니다"),
    "draft_mark": ("Draft", "草稿", "Черновик", "초안"),
    # its recipe
    "recipe": ("Recipe", "配方", "Рецепт", "레시피"),
    "recipe_file": ("The whole recipe, as JSON", "完整配方（JSON）", "Весь рецепт в JSON", "레시피 전체(JSON)"),
    "original": ("Your own words", "你的原文", "Ваши слова", "원래 문구"),
    "revision": ("Revision", "版本", "Версия", "리비전"),
    "license": ("Licence", "许可证", "Лицензия", "라이선스"),
    "picture": ("Picture", "画面", "Кадр", "화면"),
    "picture_of": ("{size}, {frames} frames at {fps} a second", "{size}，{frames} 帧，每秒 {fps} 帧", "{size}, {frames} кадров по {fps} в секунду", "{size}, {frames}프레임, 초당 {fps}프레임"),
    "sampling": ("Sampling", "采样", "Выборка", "샘플링"),
    "sampling_of": ("{steps} steps of {sampler}, guidance {guidance}", "{sampler}，{steps} 步，引导 {guidance}", "{sampler}, {steps} шагов, сила {guidance}", "{sampler}, {steps}단계, 가이던스 {guidance}"),
    "took": ("Took", "用时", "Заняло", "걸린 시간"),
    "knew": ("The model knew", "模型认识的词", "Модель знала", "모델이 아는 말"),
    "read_as": ("It read", "被理解为", "Поняла как", "바꿔 읽은 말"),
    "read_pair": ("{word} as {meant}", "{word} → {meant}", "{word} → {meant}", "{word} → {meant}"),
    "unknown": ("It did not know", "模型不认识的词", "Не знала", "모르는 말"),
    "nothing": ("nothing", "无", "ничего", "없음"),
    "frames_hash": ("Frames' SHA-256", "帧的 SHA-256", "SHA-256 кадров", "프레임 SHA-256"),
    # feedback
    "report": ("Report", "反馈", "Отзыв", "의견 보내기"),
    "report_ask": ("What did you see? It is attached to the recipe, and stays your work.", "你看到了什么？反馈附在配方上，仍归你所有。", "Что вы увидели? Отзыв прилагается к рецепту и остаётся вашей работой.", "무엇을 보셨나요? 레시피에 첨부되며 여전히 당신의 작업물입니다."),
    "report_credit": ("How do you want to be named? (optional)", "希望如何署名？（可不填）", "Как вас назвать? (необязательно)", "어떤 이름으로 표기할까요? (선택)"),
    "report_send": ("Send the report", "提交反馈", "Отправить отзыв", "의견 보내기"),
    "report_sent": ("The report is in the ledger, under “My clips”.", "反馈已记入账本，见“我的短片”。", "Отзыв записан в книгу, см. «Мои клипы».", "의견이 장부에 기록되었습니다. ‘내 클립’에서 볼 수 있습니다."),
    "reports": ("My reports", "我的反馈", "Мои отзывы", "내 의견"),
    "reports_none": ("You have not reported anything yet.", "你还没有提交过反馈。", "Вы ещё ничего не сообщали.", "아직 보낸 의견이 없습니다."),
    "report_text": ("Report", "反馈内容", "Отзыв", "의견"),
    "report_state": ("State", "状态", "Состояние", "상태"),
    "report_named": ("Named as", "署名", "Имя", "이름 표기"),
    "report_amount": ("The host agreed to pay", "主办方同意支付", "Хозяин согласился заплатить", "운영자가 지급하기로 한 금액"),
    "report_note": ("The host's words", "主办方留言", "Слова хозяина", "운영자의 말"),
    "state_received": ("received", "已收到", "получен", "접수됨"),
    "state_accepted": ("accepted", "已接受", "принят", "수락됨"),
    "state_declined": ("declined", "未采纳", "отклонён", "거절됨"),
    "state_paid": ("paid", "已支付", "оплачен", "지급됨"),
    # my clips, queue, gallery
    "search": ("Search my words", "搜索我的文字", "Поиск по словам", "내 문구 검색"),
    "sort": ("Order", "排序", "Порядок", "정렬"),
    "sort_newest": ("Newest first", "最新优先", "Сначала новые", "최신순"),
    "sort_oldest": ("Oldest first", "最早优先", "Сначала старые", "오래된 순"),
    "sort_longest": ("Longest first", "最长优先", "Сначала длинные", "긴 순"),
    "sort_largest": ("Largest first", "画面最大优先", "Сначала крупные", "화면 큰 순"),
    "sort_words": ("By their words", "按文字排序", "По алфавиту", "가나다순"),
    "load_more": ("Show more", "显示更多", "Показать ещё", "더 보기"),
    "refresh": ("Look again", "刷新", "Обновить", "새로 고침"),
    "clips_none": ("There is no clip of yours yet. The first one begins under “Make”.", "你还没有短片。到“制作”开始第一部吧。", "Клипов пока нет. Первый начинается во вкладке «Создать».", "아직 클립이 없습니다. ‘만들기’에서 첫 클립을 시작하세요."),
    "found_none": ("None of your clips has these words.", "没有短片包含这些文字。", "Нет клипов с такими словами.", "이 문구가 있는 클립이 없습니다."),
    "gallery_none": ("Nobody has published a film here yet.", "这里还没有人发布影片。", "Здесь пока никто ничего не опубликовал.", "아직 공개된 영상이 없습니다."),
    "gallery_hint": ("Only what its maker has published is here.", "这里只有作者自愿发布的影片。", "Здесь только то, что опубликовали сами авторы.", "만든 사람이 직접 공개한 것만 있습니다."),
    "queue_mine": ("Mine", "我的", "Моё", "내 작업"),
    "queue_mine_none": ("Nothing of yours waits or is being made.", "你没有等待中或制作中的影片。", "Ничего вашего не ждёт и не создаётся.", "대기 중이거나 만들고 있는 것이 없습니다."),
    "queue_others": ("Others'", "其他人的", "Чужое", "다른 사람들"),
    "queue_others_n": ("{n} of others' wait or are being made: about {time} of work in all.", "其他人有 {n} 个正在等待或制作，共约 {time} 的工作量。", "Чужих в очереди и в работе: {n}, всего примерно {time} работы.", "다른 사람의 작업 {n}개가 대기 또는 진행 중이며, 모두 약 {time} 분량입니다."),
    "queue_others_none": ("Nobody else waits.", "没有其他人在等。", "Больше никто не ждёт.", "기다리는 다른 사람이 없습니다."),
    "queue_others_hint": ("Their words are theirs, and are not shown.", "他们的文字属于他们，不会显示。", "Их слова принадлежат им и не показываются.", "그들의 문구는 그들의 것이므로 보이지 않습니다."),
    "queue_paused": ("The host has paused the queue. Nothing is lost; it goes on when the host lets it.", "主办方已暂停队列。不会丢失任何内容，恢复后继续。", "Хозяин приостановил очередь. Ничего не потеряно: работа продолжится.", "운영자가 대기열을 멈췄습니다. 잃는 것은 없으며, 다시 열리면 이어집니다."),
    # signing in
    "sign_in": ("Sign in", "登录", "Войти", "로그인"),
    "token": ("Your token", "你的令牌", "Ваш токен", "토큰"),
    "token_hint": ("This host asks for a token. Whoever runs it makes one with: unstrung tokens create NAME", "此主机需要令牌。由运行它的人生成： unstrung tokens create NAME", "Этот сервер просит токен. Его хозяин создаёт токен командой: unstrung tokens create NAME", "이 서버에는 토큰이 필요합니다. 운영자가 다음 명령으로 만듭니다: unstrung tokens create NAME"),
    "token_wrong": ("This is no token of this host, or none any more.", "这不是此主机的令牌，或已失效。", "Это не токен этого сервера, или он уже отозван.", "이 서버의 토큰이 아니거나 더는 쓸 수 없습니다."),
    "token_wait": ("Too many wrong tokens: wait a minute.", "错误令牌太多，请稍等一分钟。", "Слишком много неверных токенов: подождите минуту.", "틀린 토큰이 너무 많습니다. 1분만 기다려 주세요."),
}  # fmt: skip

# what can go wrong here, by an error's code and field, or by its code alone
ERRORS: dict[str, tuple[str, str, str, str]] = {
    "invalid_value.prompt": ("The prompt is empty, or too long for this model.", "文字为空，或对此模型来说太长。", "Текст пуст или слишком длинен для этой модели.", "문구가 비었거나 이 모델에 너무 깁니다."),
    "missing_required_parameter.prompt": ("Say what you want to see.", "请写下你想看到的内容。", "Напишите, что вы хотите увидеть.", "보고 싶은 것을 적어 주세요."),
    "too_long": ("The prompt is too long for this model.", "文字对此模型来说太长。", "Текст слишком длинен для этой модели.", "문구가 이 모델에 너무 깁니다."),
    "invalid_value.seed": ("The seed must be a whole number from 0 to 9223372036854775807.", "种子必须是 0 到 9223372036854775807 的整数。", "Зерно — целое число от 0 до 9223372036854775807.", "시드는 0부터 9223372036854775807까지의 정수여야 합니다."),
    "invalid_value.num_inference_steps": ("The steps are not within what this model allows.", "步数超出此模型的允许范围。", "Столько шагов эта модель не допускает.", "이 모델이 허용하는 단계 수가 아닙니다."),
    "invalid_value.guidance_scale": ("The guidance must be from 0 to 100.", "引导强度必须在 0 到 100 之间。", "Следование словам — от 0 до 100.", "가이던스는 0에서 100 사이여야 합니다."),
    "invalid_value.fps": ("This model does not make so many frames a second.", "此模型不支持该帧率。", "С такой частотой кадров модель не работает.", "이 모델은 이 프레임 수를 만들지 않습니다."),
    "invalid_value.seconds": ("This model does not make films of this length.", "此模型不支持该时长。", "Такой длины эта модель не делает.", "이 모델은 이 길이의 영상을 만들지 않습니다."),
    "invalid_value": ("This model can't make it so: choose another size or length.", "此模型无法这样制作，请换一个尺寸或时长。", "Так эта модель не умеет: выберите другой размер или длину.", "이 모델로는 만들 수 없습니다. 다른 크기나 길이를 고르세요."),
    "not_supported": ("This model can't start from a picture. These can: {able}", "此模型不能从图片开始。可以的模型：{able}", "Эта модель не умеет начинать с картинки. Умеют: {able}", "이 모델은 그림에서 시작할 수 없습니다. 가능한 모델: {able}"),
    "unsupported_media": ("This is not a PNG, JPEG or WebP picture.", "这不是 PNG、JPEG 或 WebP 图片。", "Это не картинка PNG, JPEG или WebP.", "PNG, JPEG, WebP 그림이 아닙니다."),
    "unreadable_media": ("The picture can't be read.", "图片无法读取。", "Картинку не удалось прочитать.", "그림을 읽을 수 없습니다."),
    "unknown_model": ("There is no such model here.", "这里没有这个模型。", "Такой модели здесь нет.", "여기에는 그런 모델이 없습니다."),
    "missing_weights": ("This model is not installed on this machine.", "此模型未安装在这台机器上。", "Эта модель здесь не установлена.", "이 모델은 이 컴퓨터에 설치되어 있지 않습니다."),
    "not_enough_memory": ("This machine has not enough memory for that: choose a smaller size or a shorter film.", "这台机器内存不足，请选择更小的尺寸或更短的时长。", "На это не хватит памяти: выберите размер поменьше или фильм покороче.", "메모리가 부족합니다. 더 작은 크기나 더 짧은 길이를 고르세요."),
    "over_limit.concurrent_jobs": ("As many of your videos wait or are being made as you may have at once.", "等待中或制作中的影片已达到你的上限。", "В очереди и в работе уже столько ваших видео, сколько разрешено.", "한 번에 가질 수 있는 만큼 이미 대기 또는 진행 중입니다."),
    "over_limit.seconds": ("That would be more video than you may make in a day.", "超出了你每天可制作的视频时长。", "Это больше, чем вам разрешено за день.", "하루에 만들 수 있는 영상 길이를 넘습니다."),
    "over_limit.size": ("That is larger than you may make here.", "超出了你可制作的尺寸。", "Это больше разрешённого вам размера.", "허용된 크기보다 큽니다."),
    "over_limit.storage": ("Your clips take all the room that you have: delete some first.", "你的短片已占满空间，请先删除一些。", "Ваши клипы заняли всё место: удалите какие-нибудь.", "저장 공간이 가득 찼습니다. 먼저 일부를 삭제하세요."),
    "over_limit": ("That is more than you may have here.", "超出了你的限额。", "Это больше разрешённого.", "허용량을 넘습니다."),
    "not_found": ("It is not there any more.", "它已经不在了。", "Этого больше нет.", "더 이상 없습니다."),
    "not_ready": ("It is not finished yet.", "尚未完成。", "Ещё не готово.", "아직 완성되지 않았습니다."),
    "bad_status": ("It has gone on meanwhile: look again.", "状态已变化，请刷新。", "Состояние уже изменилось: обновите.", "그사이 상태가 바뀌었습니다. 새로 고침하세요."),
    "bad_recipe": ("The recipe in this film is damaged.", "此影片中的配方已损坏。", "Рецепт в этом фильме повреждён.", "이 영상의 레시피가 손상되었습니다."),
    "newer_recipe": ("This film is from a newer version of Unstrung: upgrade.", "此影片来自更新版本的 Unstrung，请升级。", "Фильм создан более новой версией Unstrung: обновите программу.", "더 새로운 Unstrung으로 만든 영상입니다. 업그레이드하세요."),
    "invalid_value.text": ("A report is words, at most 8,000 characters.", "反馈必须是文字，最多 8,000 字符。", "Отзыв — это слова, не больше 8000 знаков.", "의견은 글이어야 하며 최대 8,000자입니다."),
    "invalid_value.credit": ("A name has at most 200 characters.", "署名最多 200 字符。", "Имя — не длиннее 200 знаков.", "이름은 최대 200자입니다."),
    "over_limit.text": ("Many of your reports have no answer yet: wait for some.", "你还有许多反馈未得到答复，请稍候。", "У многих ваших отзывов ещё нет ответа: подождите.", "아직 답을 받지 못한 의견이 많습니다. 잠시 기다려 주세요."),
    "invalid_api_key": ("You are signed out: sign in again.", "你已退出，请重新登录。", "Вы вышли: войдите снова.", "로그아웃되었습니다. 다시 로그인하세요."),
    "insufficient_scope": ("Your token may look, and not make.", "你的令牌只能查看，不能制作。", "Ваш токен позволяет смотреть, но не создавать.", "이 토큰으로는 볼 수만 있고 만들 수는 없습니다."),
    "rate_limited": ("You ask too often: wait a moment.", "请求太频繁，请稍候。", "Слишком часто: подождите немного.", "요청이 너무 잦습니다. 잠시 기다려 주세요."),
    "worker_lost": ("The program that made it died three times: try something smaller.", "制作程序三次中断，请换小一点的。", "Программа трижды упала: попробуйте что-нибудь поменьше.", "만드는 프로그램이 세 번 멈췄습니다. 더 작게 시도해 보세요."),
    "disk_full": ("The host's disk is full.", "主机磁盘已满。", "Диск сервера заполнен.", "서버 디스크가 가득 찼습니다."),
    "other": ("This can't be done ({code}).", "无法完成（{code}）。", "Не получилось ({code}).", "할 수 없습니다({code})."),
}  # fmt: skip


def speaker(language: str) -> Say:
    """Return a function that says a text in a language, with what goes into it."""
    place = list(LANGUAGES).index(language)

    def say(name: str, **values: object) -> str:
        return TEXTS[name][place].format(**values)

    return say


def explain(language: str, code: str, field: str | None = None, **values: object) -> str:
    """Say in a language what went wrong; `values` is what goes into it."""
    place = list(LANGUAGES).index(language)
    for name in (f"{code}.{field}", code, "other"):
        if name in ERRORS:
            return ERRORS[name][place].format(code=code, **values)
    raise AssertionError("there is always another")
