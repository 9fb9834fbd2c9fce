/* What a page of ours needs beyond HTML and htmx: times that count on, ids that copy, and polling that is never silent. */
"use strict";
(() => {
  const say = (id, text) => { const box = document.getElementById(id); if (box && box.textContent !== text) box.textContent = text; };
  const live = () => document.getElementById("live");

  /* times: "3 min ago", counted on */
  const UNITS = [["s", 1, 60], ["min", 60, 60], ["h", 3600, 24], ["d", 86400, Infinity]];
  function ago(then) {
    const seconds = Math.trunc((Date.now() - then) / 1000), size = Math.abs(seconds);
    if (size < 5) return "just now";
    const [unit, length] = UNITS.find(([, length, most]) => size < length * most);
    return seconds > 0 ? `${Math.trunc(size / length)} ${unit} ago` : `in ${Math.trunc(size / length)} ${unit}`;
  }
  const tick = () => document.querySelectorAll("time [data-ago]").forEach((each) => {
    const text = ago(Date.parse(each.closest("time").dateTime));
    if (each.textContent !== text) each.textContent = text;
  });
  setInterval(tick, 1000);

  /* copying, and forms that are sent once */
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    try { await navigator.clipboard.writeText(button.dataset.copy); say("tn-said", "Copied."); }
    catch { window.prompt("Copy this:", button.dataset.copy); } /* no clipboard without TLS */
  });
  document.addEventListener("submit", (event) => {
    if (!event.target.matches("[data-once]")) return;
    if (event.target.dataset.sent) return event.preventDefault();
    event.target.dataset.sent = "yes";
    event.target.querySelectorAll("button[type=submit]").forEach((button) => button.setAttribute("aria-disabled", "true"));
  });
  window.addEventListener("pageshow", () => document.querySelectorAll("[data-sent]").forEach((form) => {
    delete form.dataset.sent; /* the back button brings the page back as it was */
    form.querySelectorAll("[aria-disabled]").forEach((button) => button.removeAttribute("aria-disabled"));
  }));
  document.addEventListener("DOMContentLoaded", () => { tick(); document.querySelector("[data-focus]")?.focus(); });

  /* polling: paused by a button, slower while the server does not answer, and said aloud */
  let paused = false, failures = 0, notBefore = 0, since = null, open = [], before = "";
  document.addEventListener("click", (event) => {
    const button = event.target.closest("#tn-pause");
    if (!button) return;
    paused = !paused;
    button.setAttribute("aria-pressed", String(paused));
    say("tn-said", paused ? "Updates are paused." : "Updates go on.");
  });
  const polls = (event) => event.target.id === "live" || event.detail.elt?.id === "live";
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (polls(event) && (paused || Date.now() < notBefore)) event.preventDefault();
  });
  function failed(event) {
    if (!polls(event)) return;
    failures += 1;
    since ??= new Date();
    notBefore = Date.now() + Math.min(2 ** failures, 60) * 1000;
    if (failures < 3) return;
    const bar = document.getElementById("tn-away");
    bar.hidden = false;
    say("tn-away", `Not up to date since ${since.toISOString().slice(11, 16)} UTC, trying again`);
  }
  ["htmx:sendError", "htmx:responseError", "htmx:timeout"].forEach((name) => document.addEventListener(name, failed));
  document.addEventListener("htmx:afterRequest", (event) => {
    if (!polls(event) || !event.detail.successful) return;
    failures = 0; notBefore = 0; since = null;
    document.getElementById("tn-away").hidden = true;
  });
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (!polls(event)) return;
    before = live()?.dataset.state ?? "";
    open = [...document.querySelectorAll("#live details[open][id]")].map((each) => each.id);
  });
  document.addEventListener("htmx:afterSwap", () => {
    const now = live();
    if (!now) return;
    open.forEach((id) => document.getElementById(id)?.setAttribute("open", ""));
    tick();
    if (now.dataset.say && now.dataset.state !== before) say("alarm" in now.dataset ? "tn-alarm" : "tn-said", now.dataset.say);
    before = now.dataset.state;
    if (!now.hasAttribute("hx-get")) document.querySelector(".tn-updates")?.remove();
  });
})();
