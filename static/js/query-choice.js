/* A choice that only changes what the page shows is kept in its address, so that going back or sharing the link keeps it. */
document.addEventListener("change", (event) => {
  const input = event.target.closest("input[data-query-choice]");
  if (!input) return;
  const address = new URL(window.location.href);
  address.searchParams.set(input.name, input.value);
  window.history.replaceState(window.history.state, "", address);
});
