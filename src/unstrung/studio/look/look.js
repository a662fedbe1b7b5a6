// What the page does in the browser: it follows videos on their way, keeps what is unchanged in place, and reads films' recipes.
"use strict";
// the framework's own words (a lost connection, say) follow the browser's language: here they follow the page's. It has no words in
// some languages, speaks English then, and says that the whole page did
new MutationObserver(() => {
  if (document.documentElement.lang !== UNSTRUNG.language) document.documentElement.lang = UNSTRUNG.language;
}).observe(document.documentElement, { attributeFilter: ["lang"] });
Object.defineProperty(navigator, "language", { get: () => UNSTRUNG.language });
Object.defineProperty(navigator, "languages", { get: () => [UNSTRUNG.language] });

window.unstrung = (() => {
  const MOST_PICTURE = 14e6; // bytes: the server takes 20 million letters of base64
  const PREVIEW_REST = 1000; // ms between two previews of one video
  const WAITING_REST = 10000; // ms between two questions of how long one still waits: that the wait is over, a stream says
  const LINE_REST = 1000; // ms after its last word that a line is held for closed
  const ANSWER_REST = 3000; // ms after which what was asked has been done, whether or not its answer has come
  const MOST_ANSWER = 30000; // ms that a small answer may take
  const ANSWERED = '"msg":"process_completed"'; // in what a line says
  const PARTS_REST = 30000; // ms until a page that has not come up is held for lost

  let ahead = 0; // ms that the server's clock is ahead of this one
  let reported = null; // what holds the report that was sent last

  const say = (name, values = {}) => UNSTRUNG.texts[name].replace(/\{(\w+)\}/g, (_, key) => values[key]);

  function time(seconds) {
    if (seconds < 90) return say("n_seconds", { n: Math.max(1, Math.round(seconds)) });
    if (seconds < 5400) return say("n_minutes", { n: Math.round(seconds / 60) });
    return say("n_hours", { n: Math.round(seconds / 3600) });
  }

  // The page comes in a hundred parts, and the framework waits for each without end and without a word. Where one does not come,
  // the page is asked for once more (what came is kept, so little is fetched again); the second time it says so.
  function mind() {
    let given = false;
    const lost = () => {
      if (given || document.querySelector(".gradio-container button")) return;
      given = true;
      const again = Date.now() - (Number(sessionStorage.getItem("unstrung-again")) || 0) > 10 * PARTS_REST;
      sessionStorage.setItem("unstrung-again", Date.now());
      if (again) return location.reload();
      document.body.insertAdjacentHTML("afterbegin", '<p role="alert" style="padding: 2em; text-align: center"><a id="lost" href=""></a></p>');
      document.querySelector("#lost").textContent = say("parts_lost");
    };
    addEventListener("vite:preloadError", lost);
    addEventListener("load", () => setTimeout(lost, PARTS_REST));
  }

  // Say that whoever is at the page is nobody any more; what they have written stays.
  function signedOut() {
    const place = [...document.querySelectorAll(".said")].find((said) => said.offsetParent !== null);
    if (place && !place.querySelector("a")) {
      place.insertAdjacentHTML("beforeend", `<p class="bad"><a target="_blank" href="../sign-in?language=${UNSTRUNG.language}"></a></p>`);
      place.querySelector("a").textContent = say("signed_out");
    }
    return 60000; // ms until it is worth asking again
  }

  // The framework hears of all that it asks over one line, which the server closes when nothing is asked any more. What is asked
  // after that, and before the framework has seen it closed, is answered on no line. So what the server says to a question waits
  // here until the line has spoken of it, or is closed: then the framework opens another.
  let line = null;

  function follow(request) {
    const own = (line = { said: "", waiting: new Set() });
    const answering = fetched(request);
    const closed = new Promise((go) => request.signal.addEventListener("abort", go));
    const rest = () => new Promise((go) => setTimeout(go, LINE_REST)); // a server that is killed has nothing closed
    const listen = async () => {
      const reader = (await answering).clone().body.pipeThrough(new TextDecoderStream()).getReader();
      for (let { value, done } = await reader.read(); !done; { value, done } = await reader.read()) {
        const before = own.said.length;
        own.said += value;
        if (own.said.includes(ANSWERED, before - ANSWERED.length)) changed();
        for (const look of own.waiting) look();
      }
    };
    const over = () => {
      if (line === own) line = null;
      for (const look of own.waiting) look();
    };
    listen().catch(() => {}).then(() => Promise.race([closed, rest()])).then(over);
    return answering;
  }

  // Say that something may have changed. Of two answers that come at once the framework shows one, and that may be the earlier;
  // so what is on its way is looked up anew after each.
  const changed = () => document.dispatchEvent(new Event("unstrung:changed"));

  // Wait until the line has spoken of something that was asked, or is closed.
  const spoken = (own, id) =>
    new Promise((go) => {
      own.waiting.add(() => (line !== own || own.said.includes(id)) && go());
      for (const look of own.waiting) look();
    });

  mind();
  const fetched = window.fetch;
  window.fetch = async (...asked) => {
    const at = asked[0].url || String(asked[0]);
    const answer = await (at.includes("/gradio_api/queue/data") ? follow(...asked) : fetched(...asked));
    if (answer.status === 401 && at.includes("/gradio_api/")) signedOut();
    else if (answer.ok && at.includes("/gradio_api/queue/join")) {
      setTimeout(changed, ANSWER_REST);
      if (line) await spoken(line, (await answer.clone().json()).event_id);
    }
    return answer;
  };

  // Ask the server for something that is read at once; where it says nothing, it can be asked again.
  const get = (at) => fetch(at, { signal: AbortSignal.timeout(MOST_ANSWER) });

  // --- one video on its way ---

  function tell(card, words) {
    const now = card.querySelector(".now");
    if (now && now.textContent !== words) now.textContent = words;
  }

  function advance(card, percent, began) {
    const bar = card.querySelector(".bar");
    if (!bar) return;
    bar.setAttribute("aria-valuenow", percent);
    bar.firstElementChild.style.width = `${percent}%`;
    const passed = (Date.now() + ahead) / 1000 - (began || Number(card.dataset.at) || Infinity);
    let words = percent < 1 ? say("beginning") : percent > 97 ? say("finishing") : say("making", { n: percent });
    if (percent > 4 && percent < 98 && passed > 3) words += ` · ${say("left", { time: time((passed * (100 - percent)) / percent) })}`;
    tell(card, words);
  }

  function wait(card, extras) {
    const words = [extras.position ? say("waiting", { n: extras.position }) : say("next")];
    if (extras.starts_in === null || extras.starts_in === undefined) words.push(say("nobody"));
    else {
      if (extras.starts_in >= 1) words.push(say("starts_in", { time: time(extras.starts_in) }));
      words.push(say("ends_in", { time: time(extras.ends_in) }));
    }
    tell(card, words.join(" · "));
  }

  function preview(card) {
    const picture = card.querySelector("img[data-src]");
    if (!picture || Date.now() - (picture.shownAt || 0) < PREVIEW_REST) return;
    picture.shownAt = Date.now();
    const next = new Image();
    next.onload = () => show(card, next.src);
    next.src = `${picture.dataset.src}&at=${Date.now()}`;
  }

  function show(card, source) {
    const picture = card.querySelector("img[data-src]");
    if (!picture) return;
    picture.src = source;
    picture.hidden = false;
    card.querySelector(".blank")?.remove();
  }

  // Ask how far a video is; return in how many ms it is worth asking again.
  async function ask(card) {
    const answer = await get(`/v1/videos/${card.dataset.id}`);
    if (answer.headers.get("date")) ahead = Date.parse(answer.headers.get("date")) - Date.now();
    if (answer.status === 401) return signedOut();
    if (answer.status === 404) card.dataset.status = "gone";
    if (!answer.ok) return 3000;
    const video = await answer.json();
    card.dataset.status = video.unstrung.status;
    if (video.status === "queued") {
      wait(card, video.unstrung);
      return WAITING_REST;
    }
    if (video.status === "in_progress") {
      if (!card.dataset.at) card.dataset.at = (Date.now() + ahead) / 1000;
      advance(card, video.progress);
      preview(card);
    }
    return Math.min(Number(answer.headers.get("openai-poll-after-ms")) || 1000, 5000);
  }

  // --- a place where videos are shown ---

  // What a card is, without what the script itself keeps up to date.
  const bare = (card) => card.outerHTML.replace(/ data-at="[^"]*"| aria-valuenow="\d+"|width: \d+%/g, "");

  // Change what is in a place; whoever stood with the keyboard on something that is gone is put on what is nearest to it.
  function change(place, how) {
    const focused = place.contains(document.activeElement) ? document.activeElement : null;
    const held = focused && [focused.closest("[data-id]")?.dataset.id, focused.dataset.do];
    how();
    if (!focused || focused.isConnected || !held[0]) return;
    const card = place.querySelector(`[data-id="${CSS.escape(held[0])}"]`);
    (card?.querySelector(`[data-do="${held[1]}"]`) || card?.querySelector(".acts .act") || card?.querySelector("summary"))?.focus();
  }

  function cardsIn(html) {
    const fresh = document.createElement("template");
    fresh.innerHTML = html;
    for (const card of fresh.content.querySelectorAll("article[data-id]")) card.made = bare(card);
    return fresh.content;
  }

  // Put new cards in place of those that have changed. The others are not even moved, or a film that plays would begin anew.
  function patch(place, html) {
    const fresh = cardsIn(html);
    const [grid, wanted] = [place, fresh].map((within) => within.querySelector(".cards"));
    if (grid && wanted) {
      const nodes = [...fresh.childNodes];
      const middle = nodes.indexOf(wanted);
      for (const node of [...place.childNodes]) if (node !== grid) node.remove();
      grid.before(...nodes.slice(0, middle));
      grid.after(...nodes.slice(middle + 1));
      const known = new Map([...grid.children].map((card) => [card.dataset.id, card]));
      const cards = [...wanted.children].map((card) => (known.get(card.dataset.id)?.made === card.made ? known.get(card.dataset.id) : card));
      for (const card of [...grid.children]) if (!cards.includes(card)) card.remove();
      let next = grid.firstElementChild;
      for (const card of cards) {
        if (card === next) next = next.nextElementSibling;
        else grid.insertBefore(card, next);
      }
    } else place.replaceChildren(fresh);
    previews(place);
  }

  function previews(place) {
    for (const card of place.querySelectorAll("article[data-status=in_progress], article[data-status=canceled]")) {
      if (card.dataset.at && card.querySelector("img[data-src][hidden]")) preview(card);
    }
  }

  // Put a card in place of one whose video has ended, or take it away where that is gone.
  async function renew(card) {
    const answer = await get(`card/${card.dataset.id}`);
    if (answer.status === 401) return void signedOut();
    if (!answer.ok && answer.status !== 404) throw new Error(answer.statusText);
    const fresh = answer.ok ? [...cardsIn(await answer.text()).children] : [];
    const place = card.parentElement;
    if (!place) return; // something else has put another there meanwhile
    change(place, () => card.replaceWith(...fresh));
    previews(place);
  }

  const ON_ITS_WAY = ["queued", "in_progress"];

  // `from` is where the script looks up by itself what is to be shown; where it is null, the framework brings that.
  function board(element, props, trigger, watch, from) {
    let stale = from !== null;
    let stream = null;
    let broken = false; // the stream ended: it is asked what became of it before one is opened again
    let timer = null;
    let turn = 0; // of ticks: one that another has overtaken does nothing more
    const place = () => element.querySelector(".board");
    const seen = () => !document.hidden && element.offsetParent !== null;
    const onTheirWay = () => (seen() ? [...element.querySelectorAll("article[data-status=queued], article[data-status=in_progress]")] : []);

    function hear(card) {
      if (stream && stream.card === card) return;
      if (stream) stream.close();
      stream = null;
      if (!card) return;
      stream = new EventSource(`/v1/videos/${card.dataset.id}/events?pictures=true`);
      stream.card = card;
      let began = 0;
      stream.addEventListener("progress", (event) => advance(card, JSON.parse(event.data).progress, began));
      stream.addEventListener("preview", (event) => {
        const { picture } = JSON.parse(event.data);
        if (picture) show(card, picture);
      });
      stream.addEventListener("state", (event) => {
        const said = JSON.parse(event.data);
        card.dataset.status = said.status;
        if (said.status === "in_progress") advance(card, 0, (began = said.at));
        else if (said.status === "queued") began = 0;
        else soon();
      });
      stream.onerror = () => {
        hear(null);
        broken = true;
      };
    }

    function soon() {
      clearTimeout(timer);
      timer = setTimeout(tick, 100);
    }

    async function tick() {
      clearTimeout(timer);
      const mine = ++turn;
      let rest = WAITING_REST;
      let renewed = false;
      let cards = onTheirWay();
      try {
        if (stale && !document.hidden) {
          const answer = await get(from);
          const html = answer.ok ? await answer.text() : null;
          if (mine !== turn) return;
          if (answer.status === 401) rest = signedOut();
          else if (html === null) throw new Error(answer.statusText);
          else {
            stale = false;
            change(place(), () => patch(place(), html));
            cards = onTheirWay();
          }
        }
        const running = (card) => card.dataset.status === "in_progress";
        hear(broken ? null : cards.find(running) || cards.at(-1)); // the newest stand first
        for (const card of cards) {
          if (stream && stream.card === card && running(card)) continue;
          const next = await ask(card);
          if (mine !== turn) return;
          rest = Math.min(rest, next);
        }
        broken = false;
        for (const bar of seen() ? element.querySelectorAll("article .bar") : []) {
          const card = bar.closest("article");
          if (ON_ITS_WAY.includes(card.dataset.status)) continue;
          await renew(card);
          if (mine !== turn) return;
          renewed = true; // it is another's turn now
        }
      } catch {
        cards.forEach((card) => tell(card, say("lost")));
      }
      if (mine !== turn) return;
      timer = setTimeout(tick, renewed ? 1000 : rest);
    }

    element.addEventListener("click", (event) => {
      const button = event.target.closest("[data-do]");
      if (!button) return;
      if (button.ariaDisabled) return; // what is pressed twice is meant once; a button that is disabled would lose the keyboard
      button.ariaDisabled = "true";
      setTimeout(() => (button.ariaDisabled = null), 2000);
      const given = {};
      for (const field of button.closest("details")?.querySelectorAll("[data-give]") || []) given[field.dataset.give] = field.value;
      trigger("click", { ...given, do: button.dataset.do, id: button.closest("[data-id]")?.dataset.id });
      const asked = button.closest("details.ask");
      if (button.dataset.do === "report") reported = asked;
      else if (asked) asked.open = false;
    });
    element.addEventListener("keydown", (event) => {
      const asked = event.key === "Escape" && event.target.closest("details.ask[open]");
      if (!asked) return;
      asked.open = false;
      asked.querySelector("summary").focus();
    });
    document.addEventListener("visibilitychange", tick);
    document.addEventListener("unstrung:changed", () => {
      stale = from !== null;
      if (stale) soon();
    });
    watch("value", () => {
      change(place(), () => patch(place(), props.value || ""));
      tick();
    });
    if (!stale) patch(place(), props.value || "");
    tick();
  }

  function said(element, watch) {
    element.setAttribute("role", "status");
    watch("value", () => {
      element.querySelector(".bad, .good")?.scrollIntoView({ block: "nearest", behavior: "smooth" });
      if (!reported || !element.querySelector(".good")) return;
      for (const field of reported.querySelectorAll("[data-give]")) field.value = "";
      reported.open = false;
      reported = null;
    });
  }

  // --- a picture to start from, or a film whose settings to use ---

  function bring(element, props, trigger) {
    const bad = (name) => (element.querySelector(".bad").textContent = name ? say(name) : "");

    async function take(file) {
      bad("");
      if (/^image\/(png|jpeg|webp)$/.test(file.type)) {
        if (file.size > MOST_PICTURE) return bad("bring_large");
        const reader = new FileReader();
        reader.onload = () => (props.value = reader.result);
        reader.readAsDataURL(file);
        return;
      }
      const recipe = await recipeOf(file).catch(() => null);
      if (recipe) trigger("upload", { recipe });
      else bad("bring_bad");
    }

    element.addEventListener("change", (event) => event.target.files?.[0] && take(event.target.files[0]));
    element.addEventListener("click", (event) => event.target.closest("button") && (props.value = ""));
    const tab = () => element.closest("[role=tabpanel]")?.offsetParent !== null;
    document.addEventListener("dragover", (event) => {
      if (!event.dataTransfer?.types.includes("Files") || !tab()) return;
      event.preventDefault();
      document.body.classList.add("dropping");
    });
    document.addEventListener("dragleave", (event) => event.relatedTarget || document.body.classList.remove("dropping"));
    document.addEventListener("drop", (event) => {
      document.body.classList.remove("dropping");
      const file = event.dataTransfer?.files[0];
      if (!file || !tab()) return;
      event.preventDefault();
      take(file);
    });
  }

  // Return the recipe in a film, from its comment: moov/udta/meta/ilst/©cmt/data (ISO/IEC 14496-12, QuickTime's metadata).
  async function recipeOf(file) {
    if (/json$/.test(file.type || file.name)) return file.text();
    let within = file;
    for (const [name, skipped] of [["moov", 0], ["udta", 0], ["meta", 4], ["ilst", 0], ["\u00a9cmt", 0], ["data", 8]]) {
      within = await box(within, name);
      if (!within) return null;
      within = within.slice(skipped);
    }
    return within.text();
  }

  async function box(blob, wanted) {
    for (let at = 0; at + 8 <= blob.size; ) {
      const head = new DataView(await blob.slice(at, at + 16).arrayBuffer());
      let size = head.getUint32(0);
      let begin = 8;
      if (size === 1) [size, begin] = [Number(head.getBigUint64(8)), 16];
      else if (size === 0) size = blob.size - at;
      if (size < begin) return null;
      const name = String.fromCharCode(...[4, 5, 6, 7].map((i) => head.getUint8(i)));
      if (name === wanted) return blob.slice(at + begin, at + size);
      at += size;
    }
    return null;
  }

  return { board, said, bring };
})();
