/* Keys, downloads made in the browser, and what screen readers need. Knows nothing of the model. */
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

  window.phi2demoDownload = (name, text) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text ?? ""], { type: "text/plain;charset=utf-8" }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };

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
  new MutationObserver(mend).observe(document, { childList: true, subtree: true });
})();
