// The worklist as it was left in this tab: filters, order, place. The scans that are opened from it keep to it.

const KEY = "worklist";

export function kept() {
  try { return JSON.parse(sessionStorage.getItem(KEY)) ?? {}; } catch { return {}; } // another version left it
}

export const keep = (changes) => sessionStorage.setItem(KEY, JSON.stringify({ ...kept(), ...changes }));

/** Filters and order as the server is asked for them; what is empty is left out. */
export const words = (asked) => new URLSearchParams(Object.entries(asked).filter(([, value]) => value !== "" && value !== undefined));

/** Whether a list holds less than all scans. */
export const filtered = ({ q, state, flag, structure } = {}) => Boolean(q || state || flag || structure);
