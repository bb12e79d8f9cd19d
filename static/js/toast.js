/* A toast leaves after six seconds, but never from under a pointer or the focus. */
(() => {
  const LIFE_MS = 6000;
  const region = document.getElementById("toasts");
  if (!region) return;

  const dismiss = (toast) => {
    const focused = toast.contains(document.activeElement);
    toast.remove();
    if (focused) document.getElementById("main")?.focus();
  };

  const watch = (toast) => {
    let timer;
    const hold = () => clearTimeout(timer);
    const release = () => {
      hold();
      if (!toast.matches(":hover, :focus-within")) timer = setTimeout(dismiss, LIFE_MS, toast);
    };
    toast.addEventListener("pointerenter", hold);
    toast.addEventListener("pointerleave", release);
    toast.addEventListener("focusin", hold);
    toast.addEventListener("focusout", () => setTimeout(release));
    const button = toast.querySelector("[data-dismiss]");
    if (button) {
      button.hidden = false;
      button.addEventListener("click", () => dismiss(toast));
    }
    release();
  };

  region.querySelectorAll(".tp-toast").forEach(watch);
  new MutationObserver((changes) => {
    for (const change of changes) {
      for (const node of change.addedNodes) if (node.matches?.(".tp-toast")) watch(node);
    }
  }).observe(region, { childList: true });
})();
