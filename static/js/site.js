// What pages gain when scripts run: local times, a menu that closes, the colour choice, and words for trouble.
// Every page works without this file.

const local = new Intl.DateTimeFormat(document.documentElement.lang || "en", {
  dateStyle: "medium", timeStyle: "long",
});

// --- Words: the page brings them in its language -------------------------------------------------------------

const words = document.getElementById("said")?.dataset ?? {};

function worded(name, facts = {}) {
  return (words[name] ?? "").replace(/\{(\w+)\}/g, (_, fact) => facts[fact] ?? "");
}

// --- Times: the page says UTC, hovering or focusing says what the clock on the wall says ---------------
// A time that stands in no link and whose row has none gets a stop of its own for the keyboard and the finger.

const PRESSED = "a, button, summary, input, select, textarea";
const INSTANT = "time[datetime*='T']";
const tip = document.createElement("div");
tip.id = "tip";
tip.className = "tip";
tip.setAttribute("role", "tooltip");
tip.hidden = true;
document.body.append(tip);
let tipped = null; // what the tip speaks of

function reachTimes() {
  for (const time of document.querySelectorAll(`#main ${INSTANT}`)) {
    if (!time.closest(PRESSED) && !time.closest("tr")?.querySelector(PRESSED)) time.tabIndex = 0;
  }
}

function timesOf(place, isFocus) {
  const own = place.closest?.(INSTANT);
  if (own) return [own];
  const pressed = place.closest?.(PRESSED);
  if (!pressed) return [];
  const within = [...pressed.querySelectorAll(INSTANT)];
  const row = isFocus && within.length === 0 ? pressed.closest("tr") : null;
  return row ? [...row.querySelectorAll(INSTANT)] : within;
}

function tellLocalTime(event) {
  if (event.target === tip) return;
  const times = timesOf(event.target, event.type === "focusin");
  if (times.length === 0) {
    if (event.type === "focusin" || !tipped?.matches(":focus, :focus *")) hush();
    return;
  }
  hush();
  const told = times.slice(0, 3).map((time) => local.format(new Date(time.dateTime)));
  tip.textContent = worded("yourTime", { time: told.join(" · ") });
  tip.hidden = false;
  tipped = event.type === "focusin" ? event.target : times[0];
  if (!tipped.hasAttribute("aria-describedby")) tipped.setAttribute("aria-describedby", tip.id);
  stand(times[0]);
}

function stand(time) {
  const at = time.getBoundingClientRect();
  const below = at.bottom + tip.offsetHeight + 4 < innerHeight;
  tip.style.left = `${Math.max(4, Math.min(at.left, document.documentElement.clientWidth - tip.offsetWidth - 4))}px`;
  tip.style.top = `${below ? at.bottom : at.top - tip.offsetHeight}px`;
}

function hush() {
  tip.hidden = true;
  if (tipped?.getAttribute("aria-describedby") === tip.id) tipped.removeAttribute("aria-describedby");
  tipped = null;
}
reachTimes();
document.addEventListener("htmx:afterSwap", reachTimes);
document.addEventListener("pointerover", tellLocalTime);
document.addEventListener("focusin", tellLocalTime);
document.addEventListener("focusout", hush);
document.addEventListener("scroll", () => {
  const time = tipped && timesOf(tipped, true)[0];
  if (time) stand(time);
}, { capture: true, passive: true });
document.addEventListener("keydown", (event) => { if (event.key === "Escape") hush(); });

// --- Time that is left counts on between two pages, by the server's clock; it is never read out by itself -----------

let ahead = 0; // milliseconds by which the server's clock is ahead of this one
const heard = new WeakSet();

function span(seconds) {
  const minutes = Math.floor(seconds / 60);
  if (seconds <= 0) return "0\u00a0min";
  if (minutes < 1) return worded("underAMinute");
  const hours = Math.floor(minutes / 60);
  if (hours >= 48) return worded("days", { days: Math.floor(hours / 24), hours: hours % 24, nbsp: "\u00a0" });
  return hours ? worded("hours", { hours, minutes: minutes % 60, nbsp: "\u00a0" }) : `${minutes}\u00a0min`;
}

function countOn() {
  for (const place of document.querySelectorAll("time[data-left]")) {
    const until = Date.parse(place.dateTime);
    if (!heard.has(place)) { // what is new on the page says what the server's clock showed when it was written
      heard.add(place);
      ahead = until - 1000 * Number(place.dataset.left) - Date.now();
    }
    const text = span((until - Date.now() - ahead) / 1000);
    if (place.textContent !== text) place.textContent = text;
  }
}
countOn();
setInterval(countOn, 5000);
document.addEventListener("htmx:afterSwap", countOn);
document.addEventListener("visibilitychange", countOn);
// Every answer has the server's time, so a clock that was set or a computer that slept is put right within seconds.
document.addEventListener("htmx:afterRequest", (event) => {
  const told = Date.parse(event.detail.xhr?.getResponseHeader("Date") ?? "");
  if (Number.isNaN(told)) return;
  if (Math.abs(told - Date.now() - ahead) > 2000) ahead = told - Date.now();
  countOn();
});

// --- A table wider than its place shows at its edge that it goes on ------------------------------------------

function markEdge(place) {
  place.toggleAttribute("data-goes-on", place.scrollLeft + place.clientWidth < place.scrollWidth - 2);
}
function markEdges() {
  document.querySelectorAll(".scroll").forEach(markEdge);
}
markEdges();
addEventListener("resize", markEdges);
document.addEventListener("htmx:afterSwap", markEdges);
document.addEventListener("scroll", (event) => {
  if (event.target.matches?.(".scroll")) markEdge(event.target);
}, true);

// --- The user menu closes when you look elsewhere ---------------------------------------------------------

document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});
document.addEventListener("keydown", (event) => {
  const menu = event.key === "Escape" && document.querySelector("details.menu[open]");
  if (!menu) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});
document.addEventListener("focusin", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

// --- Colours: a cookie, so that the server sends the right page and nothing flashes -------------------------

const year = 365 * 24 * 3600;

function showTheme(choice) {
  const theme = document.documentElement.dataset.theme ?? "";
  for (const button of choice.querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button.value === theme));
  }
}

for (const choice of document.querySelectorAll("[data-theme-choice]")) {
  choice.addEventListener("submit", (event) => {
    const button = event.submitter;
    if (!button) return;
    event.preventDefault();
    if (button.value) document.documentElement.dataset.theme = button.value;
    else delete document.documentElement.dataset.theme;
    document.cookie = `theme=${button.value}; path=/; max-age=${button.value ? year : 0}; samesite=lax`;
    showTheme(choice);
  });
}

// --- A change of band is said at once; other live figures wait their turn in their polite region ------------

let bandsBefore = new Map();

function bands() {
  const found = new Map();
  for (const place of document.querySelectorAll("[data-watch]")) {
    found.set(place.dataset.watch, place.dataset.band);
  }
  return found;
}

document.addEventListener("htmx:beforeSwap", () => { bandsBefore = bands(); });
document.addEventListener("htmx:afterSwap", () => {
  const changed = [];
  for (const [name, band] of bands()) {
    const before = bandsBefore.get(name);
    if (before && before !== band) changed.push(worded("band", { name, band: worded(band.toLowerCase()) }));
  }
  if (changed.length) document.getElementById("said").textContent = changed.join(" ");
});

// --- Sliders: another hand on the field beside them, which is what is sent ---------------------------------

for (const slide of document.querySelectorAll("[data-slides]")) {
  const field = document.getElementById(slide.dataset.slides);
  slide.hidden = false;
  slide.addEventListener("input", () => { field.value = slide.value; });
  field.addEventListener("input", () => { slide.value = field.value || 0; });
}

// --- Trouble ------------------------------------------------------------------------------------------------

function clock() {
  return `${new Date().toISOString().slice(11, 19)} UTC`;
}

function priceDotStops() {
  const dot = document.querySelector("#live .live");
  if (!dot || dot.dataset.state === "stale") return;
  dot.dataset.state = "stale";
  dot.textContent = worded("noConnection", { time: clock() });
}

// Figures that renew themselves have a sign of their own where they stand (live.js).
function isTold(place) {
  return document.getElementById("stopped") && place?.getAttribute?.("hx-trigger")?.startsWith("every");
}

function say(text) {
  const region = document.getElementById("messages");
  const notice = document.createElement("div");
  notice.className = "notice";
  notice.setAttribute("role", "alert");
  const line = document.createElement("p");
  line.textContent = text;
  notice.append(line);
  region.replaceChildren(notice);
}

// Signed out meanwhile: what comes back is the sign-in page, which does not belong inside this one.
document.addEventListener("htmx:beforeSwap", (event) => {
  const came = new URL(event.detail.xhr.responseURL || location.href);
  if (!came.pathname.startsWith("/accounts/login/") || location.pathname.startsWith("/accounts/")) return;
  event.detail.shouldSwap = false;
  if (!isTold(event.detail.target)) location.reload();
});
document.addEventListener("htmx:sendError", (event) => {
  if (event.detail.elt?.id === "live") priceDotStops();
  else if (!isTold(event.detail.elt)) say(worded("noAnswer", { time: clock() }));
});
document.addEventListener("htmx:responseError", (event) => {
  if (event.detail.elt?.id === "live") priceDotStops();
  else if (!isTold(event.detail.elt)) say(worded("badAnswer", { status: event.detail.xhr.status, time: clock() }));
});
