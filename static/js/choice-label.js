/* A button that says what the chosen option costs: its words follow the choice, and without this script name no amount. */
(() => {
  const follow = (input) => {
    const button = input?.form?.querySelector("button[data-follows-choice]");
    if (button) button.textContent = input.dataset.buttonText;
  };

  document.addEventListener("change", (event) => follow(event.target.closest("input[data-button-text]")));
  window.addEventListener("pageshow", () => follow(document.querySelector("input[data-button-text]:checked")));
})();
