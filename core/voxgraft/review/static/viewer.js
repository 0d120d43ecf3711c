// The page of one scan.
import { Refused, Unreachable, onReturn } from "./api.js";
import { App } from "./app.js";
import { sentence } from "./dom.js";
import { prepareKeys } from "./viewer_keys.js";

async function start() {
  const app = new App(decodeURIComponent(location.pathname.replace(/^\/scan\//, "")));
  window.review = app; // for tests and for support: the page's state, looked at from outside
  try {
    await app.open();
    prepareKeys(app);
    onReturn(() => app.saving.goOn());
    await app.saving.goOn();
  } catch (error) {
    app.tell(error instanceof Unreachable ? "The server does not answer." : sentence(error.message));
    if (!(error instanceof Refused || error instanceof Unreachable)) throw error;
  }
}

start();
