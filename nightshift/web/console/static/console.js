// Instants as people say them, kept true every second; where the keyboard is; the theme.
(() => {
  const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const span = (seconds) => {
    if (seconds < 1) return "now";
    const found = UNITS.findIndex(([size]) => seconds >= size);
    const [size, name] = UNITS[found];
    const whole = Math.floor(seconds / size);
    const next = UNITS[found + 1];
    const rest = next && whole < 10 ? Math.floor((seconds % size) / next[0]) : 0;
    return rest ? `${whole} ${name} ${rest} ${next[1]}` : `${whole} ${name}`;
  };
  const say = (element) => {
    const off = (Date.parse(element.dateTime) - Date.now()) / 1000;
    const words = span(Math.abs(off));
    const kind = element.dataset.rel;
    const text = kind === "for" ? `for ${words}` : words === "now" ? "now" : off > 0 ? `in ${words}` : `${words} ago`;
    if (element.textContent !== text) element.textContent = text;
    element.title ||= element.dateTime.replace("T", " ").replace("Z", " UTC");
  };
  const sayAll = () => document.querySelectorAll("time[data-rel]").forEach(say);

  // What is live is replaced as a whole; whoever was on a link or button in it stays there.
  let focused = null;
  document.addEventListener("focusin", (event) => { focused = event.target.id || null; });
  document.addEventListener("pointerdown", () => { focused = null; });
  const stay = () => {
    if (focused && document.activeElement === document.body) document.getElementById(focused)?.focus({ preventScroll: true });
  };

  // Nothing is moved while the pointer is about to press it, so the now line glides between updates.
  const glide = () => {
    document.querySelectorAll("[data-from][data-till]").forEach((track) => {
      const from = Number(track.dataset.from), till = Number(track.dataset.till);
      const share = (Date.now() - from) / (till - from);
      track.style.setProperty("--now", `${Math.min(Math.max(share, 0), 1) * 100}%`);
    });
  };

  const theme = () => document.cookie.match(/nightshift_theme=(dark|light)/)?.[1];
  const paint = () => {
    const dark = theme() ? theme() === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    document.documentElement.dataset.theme = dark ? "dark" : "light";
  };
  const turn = () => {
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    document.cookie = `nightshift_theme=${next}; path=/; max-age=31536000; samesite=lax`;
    paint();
  };

  document.addEventListener("click", (event) => { if (event.target.closest("[data-theme-toggle]")) turn(); });

  const KEYS = { n: "/", r: "/runs", j: "/jobs", c: "/channels", d: "/deliveries", o: "/rooms", m: "/money" };
  document.addEventListener("keydown", (event) => {
    if (event.target.closest("input, textarea, select, [contenteditable]") || event.metaKey || event.ctrlKey || event.altKey) return;
    if (event.key === "/") {
      const search = document.querySelector("input[type=search]");
      if (search) { event.preventDefault(); search.focus(); }
    } else if (event.key === "t") {
      turn();
    } else if (KEYS[event.key] && document.querySelector(`nav a[href="${KEYS[event.key]}"]`)) {
      location.href = KEYS[event.key];
    }
  });

  // Enter sends what is written; not the one that ends a word in an input method.
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || !event.target.matches("[data-enter-sends]")) return;
    event.preventDefault();
    event.target.form.requestSubmit();
  });

  // What a form asked for and did not get, put back where it was, before whatever was written since.
  window.putBack = (id, filled) => {
    for (const [name, value] of Object.entries(filled)) {
      const field = document.getElementById(id)?.querySelector("form")?.elements[name];
      if (field) field.value = field.matches("textarea") ? value + field.value : value;
    }
  };

  paint();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
  const refresh = () => { sayAll(); stay(); glide(); };
  new MutationObserver(refresh).observe(document.documentElement, { childList: true, subtree: true });
  setInterval(() => { sayAll(); glide(); }, 1000);
  document.addEventListener("DOMContentLoaded", refresh);
})();
