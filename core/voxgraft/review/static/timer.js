// Seconds that a person really spent: the clock stands while the page is hidden and after a minute without a movement.

const IDLE = 60_000;

export class Timer {
  constructor(show) {
    this.seconds = 0;
    this.counted = 0;
    this.last = performance.now();
    this.moved = this.last;
    this.show = show;
    for (const kind of ["pointermove", "pointerdown", "keydown", "wheel"]) {
      document.addEventListener(kind, () => { this.tick(); this.moved = performance.now(); }, { passive: true });
    }
    document.addEventListener("visibilitychange", () => this.tick());
    setInterval(() => this.tick(), 1000);
  }

  get running() { return !document.hidden && performance.now() - this.moved < IDLE; }

  tick() {
    const now = performance.now();
    const until = Math.min(now, this.moved + IDLE);
    if (!this.hidden && until > this.last) this.seconds += (until - this.last) / 1000;
    this.last = now;
    this.hidden = document.hidden;
    this.show(this.seconds, this.running);
  }

  /** Seconds since the last decision, so that the seconds of all decisions add up to the time spent. */
  lap() {
    this.tick();
    const lap = this.seconds - this.counted;
    this.counted = this.seconds;
    return Math.round(lap * 10) / 10;
  }
}

export const clock = (seconds) =>
  `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
