// The worklist: doubtful scans first. Only rows on screen exist, and pages of the list are read as they are reached.
import { Unreachable, Refused, chooseReader, currentSession, get, onReturn, openSession } from "./api.js";
import { ask, fill, find, h, plural, sentence, toast } from "./dom.js";
import { listen, sheet } from "./keys.js";
import { WORKLIST } from "./keys_table.js";
import { filtered, keep, kept, words } from "./way.js";
import { BATCH, REVIEW, drawRow, link, opens } from "./worklist_row.js";

const PAGE = 100;
const ORDERS = [
  ["doubt", "doubtful first"], ["case", "case"], ["-date", "newest study first"], ["confidence", "least confident first"],
  ["-flags", "most flags first"], ["state", "review state"], ["-ml", "largest volume first"],
];
const SHOWN = [
  ["", "all scans"], ["open", "not reviewed"], ["started", "begun"], ["reviewed", "reviewed"], ["assigned", "assigned to me"],
  ["failed", "failed"], ["waiting", "waiting"], ["left-out", "left out"],
];
const query = { q: "", state: "", flag: "", structure: "", sort: "doubt" };
const list = { total: 0, pages: new Map(), chosen: 0, version: 0, rows: new Map(), running: false };
const box = find("#list");
const space = find("#space");

const rowHeight = () => parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--row"));

// Reading

async function page(number, near) {
  const asked = list.version;
  const answer = await get(`/api/worklist?${words({ ...query, offset: number * PAGE, limit: PAGE, case: near })}`);
  if (asked !== list.version) return null;
  list.pages.set(number, answer.scans);
  return answer;
}

/** Read the list again. Rows stay on screen until the new ones are there. */
async function read({ quiet = false } = {}) {
  list.version += 1;
  const before = list.pages;
  const first = Math.floor(box.scrollTop / rowHeight() / PAGE);
  try {
    list.pages = new Map();
    const answer = await page(first, list.near);
    if (!answer) return;
    take(answer);
  } catch (error) {
    list.pages = before;
    tellFailure(error, quiet);
  }
  draw(true);
}

function take(answer) {
  list.total = answer.total;
  list.running = answer.running;
  list.reading = answer.reading;
  const seen = onScreen();
  list.chosen = Math.max(0, Math.min(answer.place ?? list.chosen, list.total - 1));
  if (seen) bringToScreen();
  const { counts } = answer;
  drawCounts(counts);
  choices("#flag", [["", "any"], ...Object.entries(counts.flags ?? {}).map(([code, n]) => [code, `${code} (${n})`])], query.flag);
  choices("#structure", [["", "any"], ...Object.entries(counts.structures ?? {}).map(([name, n]) => [name, `${name} (${n})`])],
    query.structure);
  fill(find("#told"), filtered(query) ? `${plural(list.total, "scan")} shown. ` : `${plural(list.total, "scan")}. `,
    list.running ? "The batch is still running: the list is refreshed every few seconds. " : "",
    (currentSession().warnings ?? []).map(sentence).join(" "));
}

function tellFailure(error, quiet) {
  if (error instanceof Unreachable) return;
  if (!(error instanceof Refused)) throw error;
  if (!quiet) toast(sentence(error.message), "bad");
}

function choices(selector, pairs, value) {
  const select = find(selector);
  if (document.activeElement === select && select.options.length) return;
  fill(select, pairs.map(([key, text]) => h("option", { value: key, selected: key === value }, text)));
  select.value = value;
}

function drawCounts(counts) {
  const of = (name, [sign, text, kind]) =>
    (counts[name] ? h("span", { class: `count ${kind}` }, h("b", {}, counts[name].toLocaleString("en-GB")), ` ${sign} ${text}`) : null);
  fill(find("#counts"), of("open", REVIEW.open), of("started", REVIEW.started), of("reviewed", REVIEW.reviewed),
    of("failed", BATCH.failed), of("running", BATCH.running), of("waiting", BATCH.waiting), of("left-out", BATCH["left-out"]));
}

// Drawing

function at(number) { return list.pages.get(Math.floor(number / PAGE))?.[number % PAGE]; }

/** Put the rows on screen; those that stay keep their elements, so that pictures do not flicker. */
function draw(again = false) {
  const height = rowHeight();
  space.style.height = `${list.total * height}px`;
  const first = Math.max(0, Math.floor(box.scrollTop / height) - 3);
  const last = Math.min(list.total - 1, Math.ceil((box.scrollTop + box.clientHeight) / height) + 3);
  for (const [number, row] of list.rows) {
    if (again || number < first || number > last) { row.remove(); list.rows.delete(number); }
  }
  for (let number = first; number <= last; number++) {
    const scan = at(number);
    if (!scan) { fetchPage(Math.floor(number / PAGE)); continue; }
    if (!list.rows.has(number)) {
      const row = drawRow(scan, number, () => { choose(number); if (opens(scan)) open(); });
      row.style.transform = `translateY(${number * height}px)`;
      list.rows.set(number, row);
      space.append(row);
    }
    list.rows.get(number).setAttribute("aria-selected", String(number === list.chosen));
  }
  box.setAttribute("aria-activedescendant", `row-${list.chosen}`);
}

const reading = new Set();

async function fetchPage(number) {
  if (reading.has(number)) return;
  reading.add(number);
  try {
    if (await page(number)) draw();
  } catch (error) {
    tellFailure(error, true);
  } finally {
    reading.delete(number);
  }
}

// Moving about

function choose(number) {
  if (!list.total) return;
  list.chosen = Math.max(0, Math.min(list.total - 1, number));
  bringToScreen();
  draw();
  list.near = at(list.chosen)?.case;
}

function onScreen() {
  const top = list.chosen * rowHeight();
  return top + rowHeight() > box.scrollTop && top < box.scrollTop + box.clientHeight;
}

function bringToScreen() {
  const height = rowHeight(), top = list.chosen * height;
  space.style.height = `${list.total * height}px`;
  if (top < box.scrollTop) box.scrollTop = top;
  else if (top + height > box.scrollTop + box.clientHeight) box.scrollTop = top + height - box.clientHeight;
}

function open() {
  const scan = at(list.chosen);
  if (!scan) return;
  if (!opens(scan)) return toast(`${scan.case} has nothing to show: it is ${scan.state}.`, "look");
  remember();
  location.href = link(scan);
}

function remember() { keep({ query, near: list.near, top: box.scrollTop }); }

function recall() {
  const { query: asked = {}, near, top = 0 } = kept();
  Object.assign(query, asked);
  list.near = near;
  find("#search").value = query.q;
  space.style.height = `${top + box.clientHeight}px`;
  box.scrollTop = top;
}

function setQuery(changes) {
  Object.assign(query, changes);
  list.chosen = 0;
  list.near = undefined;
  box.scrollTop = 0;
  remember();
  return read();
}

function nextOf(pairs, value) { return pairs[(pairs.findIndex(([key]) => key === value) + 1) % pairs.length][0]; }

async function enlarge() {
  const scan = at(list.chosen);
  if (!scan) return;
  if (!scan.preview) return toast(`There is no picture of ${scan.case}.`, "look");
  await ask(scan.case, h("img", { class: "large", src: scan.preview, alt: `slices of ${scan.case}` }), [[null, "Close"]]);
}

const pageRows = () => Math.max(1, Math.floor(box.clientHeight / rowHeight()) - 1);
const actions = {
  down: () => choose(list.chosen + 1), up: () => choose(list.chosen - 1),
  pageDown: () => choose(list.chosen + pageRows()), pageUp: () => choose(list.chosen - pageRows()),
  first: () => choose(0), last: () => choose(list.total - 1),
  open, enlarge, refresh: () => read(),
  search: () => { find("#search").focus(); find("#search").select(); },
  filter: () => { const state = nextOf(SHOWN, query.state); find("#state").value = state; setQuery({ state }); },
  sort: () => { const sort = nextOf(ORDERS, query.sort); find("#sort").value = sort; setQuery({ sort }); },
  clear: () => {
    if (document.activeElement !== box && document.activeElement !== document.body) return box.focus();
    find("#search").value = "";
    find("#state").value = "";
    setQuery({ q: "", state: "", flag: "", structure: "" });
  },
  sheet: () => sheet(WORKLIST),
};

async function askReader(session) {
  const name = h("input", { type: "text", maxlength: 40, autocomplete: "username", list: "known", "aria-label": "Your name" });
  const known = h("datalist", { id: "known" }, session.readers.map((reader) => h("option", { value: reader })));
  const answer = ask("Who is reading?", ["Decisions are kept under this name.", name, known], [[true, "Go on", "primary"]]);
  name.focus();
  await answer;
  try {
    return await chooseReader(name.value.trim());
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    toast(sentence(error.message), "bad");
    return askReader(session);
  }
}

function drawWho() {
  const session = currentSession();
  fill(find("#who"), h("span", { class: "soft" }, "Reader "), h("b", {}, session.reader), " ",
    session.fixed ? null : h("button", { type: "button", onclick: async () => { await askReader(session); drawWho(); read(); } }, "Change"));
}

function prepare() {
  choices("#state", SHOWN, query.state);
  choices("#sort", ORDERS, query.sort);
  for (const name of ["state", "flag", "structure", "sort"]) {
    find(`#${name}`).addEventListener("change", (event) => { setQuery({ [name]: event.target.value }); box.focus(); });
  }
  let typing = null;
  find("#search").addEventListener("input", (event) => {
    clearTimeout(typing);
    typing = setTimeout(() => setQuery({ q: event.target.value.trim() }), 120);
  });
  find("#search").addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" || event.key === "Enter") { event.preventDefault(); box.focus(); }
  });
  box.addEventListener("scroll", () => requestAnimationFrame(() => draw()), { passive: true });
  addEventListener("resize", () => draw(true));
  find("#keys").addEventListener("click", actions.sheet);
  listen(WORKLIST, actions);
  onReturn(() => read({ quiet: true }));
}

async function refreshForever() {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, list.reading ? 1000 : list.running ? 4000 : 30_000));
    if (!document.hidden) await read({ quiet: true });
  }
}

async function start() {
  recall();
  prepare();
  const session = await openSession();
  if (!session.reader) await askReader(session);
  drawWho();
  await read();
  choose(list.chosen);
  box.focus();
  document.body.dataset.ready = "true";
  refreshForever();
}

start();
