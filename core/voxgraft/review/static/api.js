// The server's HTTP interface: session, CSRF, errors as sentences, and what happens while the server is away.
import { fill, find, h } from "./dom.js";

/** An answer of the server that says no; `status` and the JSON `body` come with it. */
export class Refused extends Error {
  constructor(status, body) {
    super(body.error || `The server answered ${status}.`);
    this.status = status;
    this.body = body;
  }
}

/** The server could not be reached; the request may be repeated later. */
export class Unreachable extends Error {}

let session = null;
const returned = new Set();
let watching = false;

export const currentSession = () => session;

/** Called each time the server answers again after it was away. */
export const onReturn = (action) => returned.add(action);

export async function openSession() {
  session = await get("/api/session");
  return session;
}

export async function chooseReader(reader) {
  await send("POST", "/api/session", { reader });
  return openSession();
}

export async function get(url, { raw = false } = {}) {
  const answer = await reach(url, { headers: { Accept: raw ? "*/*" : "application/json" } });
  if (!answer.ok) throw await refusal(answer);
  return raw ? answer : answer.json();
}

export const send = (method, url, body) =>
  change(url, { method, body: JSON.stringify(body ?? {}), headers: { "Content-Type": "application/json" } });

export const put = (url, body, headers) => change(url, { method: "PUT", body, headers });

/** Ask for the session again. Another tab may have chosen another reader: what is open here stays this one's. */
async function renewSession() {
  const fresh = await get("/api/session");
  if (session?.reader && fresh.reader !== session.reader) {
    throw new Refused(403, { other: fresh.reader, error: `This browser now reads as ${fresh.reader || "nobody"}, chosen in another tab, and this page `
      + `was opened by ${session.reader}. Choose ${session.reader} again in the worklist to save here.` });
  }
  session = fresh;
}

/** A request that changes something. After a restart the server may want a new session: ask for it once. */
async function change(url, options) {
  for (let again = true; ; again = false) {
    const headers = { ...options.headers, "X-VoxGraft-CSRF": session ? session.csrf : "" };
    const answer = await reach(url, { ...options, headers });
    if (answer.ok) return answer.status === 204 ? {} : answer.json();
    const no = await refusal(answer);
    if (again && answer.status === 403 && session) {
      const before = session.csrf;
      await renewSession();
      if (session.csrf !== before) continue;
    }
    throw no;
  }
}

async function reach(url, options) {
  try {
    return await fetch(url, { credentials: "same-origin", ...options });
  } catch (error) {
    watch();
    throw new Unreachable("The server does not answer.");
  }
}

async function refusal(answer) {
  let body = {};
  try { body = await answer.json(); } catch { /* not JSON: the status says enough */ }
  return new Refused(answer.status, body);
}

/** Tell that the server is away, ask every two seconds whether it is back, and then repeat what waits. */
function watch() {
  if (watching) return;
  watching = true;
  const banner = find("#away");
  fill(banner, h("strong", {}, "The server does not answer. "),
    "Nothing you drew or decided is lost: it is kept in this browser and saved as soon as the server is back.");
  banner.hidden = false;
  const timer = setInterval(async () => {
    try {
      const answer = await fetch("/healthz", { cache: "no-store" });
      if (!answer.ok) return;
    } catch { return; }
    clearInterval(timer);
    watching = false;
    banner.hidden = true;
    try { await renewSession(); } catch { /* the next request says why */ }
    for (const action of returned) await action();
  }, 2000);
}
