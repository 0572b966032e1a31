/* Keys, tokens to pick, downloads made in the browser, texts kept through a reload, and what screen readers need.
   Knows nothing of the model. */
(() => {
  const visible = (selector) => [...document.querySelectorAll(selector)].find((element) => element.offsetParent !== null);

  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      const run = visible("button.run");
      if (run && !run.disabled) {
        event.preventDefault();
        run.click();
      }
    }
    if (event.key === "Escape" && !event.target.closest?.("[aria-expanded='true']")) {
      const stop = visible("button.stop");
      if (stop && !stop.disabled) stop.click();
    }
  }, true);

  document.addEventListener("click", (event) => {
    if (!event.target.closest?.("a[href='#limits']")) return;
    const limits = document.getElementById("limits");
    if (!limits) return;
    event.preventDefault();
    limits.open = true;
    limits.scrollIntoView({ block: "center" });
    limits.querySelector("summary").focus();
  });

  document.addEventListener("click", (event) => {
    if (!event.target.closest?.("a[href='#prompt-templates']")) return;
    event.preventDefault();
    [...document.querySelectorAll("[role='tab']")].find((tab) => tab.textContent.trim() === "Model")?.click();
    setTimeout(() => {
      document.querySelector("#prompt-templates")?.scrollIntoView({ block: "start" });
      document.querySelector("#prompt-templates textarea")?.focus({ preventScroll: true });
    }, 300);
  });

  // Without a secure context there is no clipboard: the text is selected and copied the old way.
  const copied = async (element) => {
    try {
      await navigator.clipboard.writeText(element.textContent);
    } catch {
      const range = document.createRange();
      range.selectNodeContents(element);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      if (!document.execCommand("copy")) return "Selected: press Ctrl+C";
    }
    return "Copied";
  };

  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("button.copy");
    if (!button) return;
    button.textContent = await copied(button.nextElementSibling);
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });

  const save = (name, blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };

  window.phi2demoDownload = (name, text) => save(name, new Blob([text ?? ""], { type: "text/plain;charset=utf-8" }));

  window.phi2demoDownloadBytes = (name, base64) =>
    save(name, new Blob([Uint8Array.from(atob(base64 ?? ""), (letter) => letter.charCodeAt(0))]));

  // Without a secure origin there is no clipboard; a selected text can still be copied.
  window.phi2demoCopy = async (selector, text) => {
    const button = typeof selector === "string" ? visible(selector) : selector;
    try {
      await navigator.clipboard.writeText(text ?? "");
    } catch {
      const area = document.createElement("textarea");
      area.value = text ?? "";
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    if (!button || button.dataset.label) return;
    button.dataset.label = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => {
      button.textContent = button.dataset.label;
      delete button.dataset.label;
    }, 1500);
  };

  // Of an answer with marks: the plain one, which stands out of sight beside it.
  document.addEventListener("click", (event) => {
    const button = event.target.closest?.("button.copy-answer");
    if (button) window.phi2demoCopy(button, button.closest(".answer").querySelector(".output-text textarea").value);
  });

  window.phi2demoShow = (selector) => {
    const button = visible(selector);
    if (!button) return void setTimeout(() => visible(selector)?.focus(), 300);
    button.focus({ preventScroll: true });
    document.querySelector(".tasks")?.scrollIntoView({ block: "start" });
  };

  // Tokens of an output: one alone, then all up to a second one; the same again, or "Whole output", asks about all.
  window.phi2demoPick = (element, trigger) => {
    const tokens = () => [...element.querySelectorAll(".token")];
    const pick = (chosen) => {
      for (const token of tokens()) token.setAttribute("aria-pressed", String(chosen.includes(token)));
      element.querySelector(".whole").disabled = chosen.length === 0;
      trigger("select", chosen.length === 0 ? {} : {
        first: Number(chosen[0].dataset.first),
        last: Number(chosen.at(-1).dataset.last),
        text: chosen.map((token) => token.lastChild.textContent).join(""),
      });
    };
    const press = (token) => {
      const all = tokens();
      const chosen = all.filter((other) => other.getAttribute("aria-pressed") === "true");
      if (chosen.length !== 1) return pick([token]);
      const [low, high] = [all.indexOf(chosen[0]), all.indexOf(token)].sort((a, b) => a - b);
      pick(low === high ? [] : all.slice(low, high + 1));
    };
    const go = (from, step) => {
      const all = tokens();
      const next = all[Math.min(Math.max(all.indexOf(from) + step, 0), all.length - 1)];
      for (const token of all) token.tabIndex = token === next ? 0 : -1;
      next.focus();
    };
    element.addEventListener("click", (event) => {
      const token = event.target.closest(".token");
      if (token) press(token);
      else if (event.target.closest(".whole")) pick([]);
    });
    element.addEventListener("keydown", (event) => {
      const token = event.target.closest(".token");
      const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -Infinity, End: Infinity };
      if (!token || event.ctrlKey || event.metaKey) return;
      if (event.key === "Enter" || event.key === " ") press(token);
      else if (event.key in steps) go(token, steps[event.key]);
      else return;
      event.preventDefault();
    });
  };

  // Typed texts and the open tab outlive a reload, which gradio also does after a lost connection. They stay in this
  // browser tab and go with it. Without storage, or once it is full, nothing is kept.
  const KEPT = `phi2demo ${location.pathname}`;
  const LONGEST = 200_000;
  const SETTLED_MS = 300; // a box that gradio has just made may still be given its value
  const TYPED = "[role=tabpanel] .block:not(.hidden, .output-text) [data-testid=textbox]:enabled";
  const boxes = () => [...document.querySelectorAll(TYPED)];
  const nameOf = (box) => {
    const label = box.closest(".input-text") ? "text" : box.closest("label")?.textContent.trim();
    return `${box.closest("[role=tabpanel]").id} ${label}`;
  };
  const kept = (() => {
    try {
      return JSON.parse(sessionStorage.getItem(KEPT)) ?? {};
    } catch {
      return {};
    }
  })();
  const waiting = new Map(Object.entries(kept.texts ?? {}));
  const met = new WeakSet();

  const keep = () => {
    const texts = Object.fromEntries(waiting);
    for (const box of boxes()) if (box.value && box.value.length <= LONGEST) texts[nameOf(box)] = box.value;
    const tab = document.querySelector(".tasks [role=tab][aria-selected=true]")?.dataset.tabId ?? kept.tab;
    try {
      sessionStorage.setItem(KEPT, JSON.stringify({ tab, texts }));
    } catch { /* nothing is kept */ }
  };
  window.addEventListener("pagehide", keep);
  document.addEventListener("visibilitychange", () => document.hidden && keep());

  const putBack = (box) => {
    const text = waiting.get(nameOf(box));
    if (!box.isConnected || text === undefined) return;
    waiting.delete(nameOf(box));
    if (box.value) return;
    box.value = text;
    box.dispatchEvent(new Event("input", { bubbles: true }));
  };

  const recall = () => {
    const tab = kept.tab && document.querySelector(`.tasks [role=tab][data-tab-id="${CSS.escape(kept.tab)}"]`);
    if (tab) {
      delete kept.tab;
      tab.click();
    }
    for (const box of waiting.size ? boxes() : []) {
      if (met.has(box)) continue;
      met.add(box);
      setTimeout(putBack, SETTLED_MS, box);
    }
  };

  // What an answer brings to Explain is not mixed with what was kept of it.
  document.addEventListener("click", (event) => {
    if (!event.target.closest?.("button.why")) return;
    for (const name of waiting.keys()) if (name.startsWith("tab-explain ")) waiting.delete(name);
  }, true);

  // Screen readers hear each new stage once: the lines themselves change many times a second.
  const region = document.createElement("div");
  region.className = "sr-only";
  region.setAttribute("role", "status");
  region.setAttribute("aria-live", "polite");

  const mend = () => {
    if (!region.isConnected && document.body) document.body.append(region);
    const words = visible(".status > span:first-child")?.textContent ?? "";
    if (region.textContent !== words) region.textContent = words;
    for (const output of document.querySelectorAll(".output-text textarea[disabled]")) {
      output.disabled = false; // so that the keyboard reaches the answer
      output.readOnly = true;
    }
  };
  new MutationObserver(() => {
    mend();
    recall();
  }).observe(document, { childList: true, subtree: true });
})();
