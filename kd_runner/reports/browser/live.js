"use strict";
// The strip at the top of a served page: what runs now. All texts become text nodes.
(() => {
  const EVERY = 3000; // milliseconds between two questions
  const find = (selector) => document.querySelector(selector);
  const { version } = find("#live").dataset;
  const kept = "kd-runner search";
  const search = find("#words");
  if (search && sessionStorage.getItem(kept)) {
    search.value = sessionStorage.getItem(kept);
    search.dispatchEvent(new Event("input"));
  }
  search?.addEventListener("input", () => sessionStorage.setItem(kept, search.value));
  // A page that nobody is at shows new results by itself; else a button says that there are some.
  const busy = () => document.activeElement?.matches("input, select") || !getSelection().isCollapsed
    || find(".tabulator-selected") !== null;
  find("#live-new").addEventListener("click", () => location.reload());

  function show(state) {
    find("#live").hidden = false;
    find("#live-counts").textContent = state.counts;
    find("#live-left").textContent = state.left;
    const table = find("#live-running");
    table.hidden = !state.running.length;
    table.tBodies[0].replaceChildren(...state.running.map((cells) => {
      const row = document.createElement("tr");
      cells.forEach((text, index) => {
        const cell = row.insertCell();
        cell.textContent = text;
        if ([0, 1, 5].includes(index)) cell.className = "text";
      });
      return row;
    }));
    if (state.version !== version) {
      if (busy()) find("#live-new").hidden = false;
      else location.reload();
    }
  }
  async function ask() {
    try {
      const answer = await fetch("state");
      if (answer.ok) show(await answer.json());
    } catch {
      find("#live-left").textContent = "The server does not answer: this is how it was.";
    }
    setTimeout(ask, EVERY);
  }
  ask();
})();
