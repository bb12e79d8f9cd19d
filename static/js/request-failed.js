/* A swap that fails says so in a banner: the page stays as it is, and the next success takes the banner away. */
(() => {
  const ID = "request-failed-banner";

  const show = () => {
    const template = document.getElementById("request-failed");
    const main = document.getElementById("main");
    if (!template || !main || document.getElementById(ID)) return;
    const alert = document.createElement("div");
    alert.id = ID;
    alert.setAttribute("role", "alert");
    main.prepend(alert);
    alert.append(template.content.cloneNode(true));
  };

  document.addEventListener("htmx:responseError", show);
  document.addEventListener("htmx:sendError", show);
  document.addEventListener("htmx:timeout", show);
  document.addEventListener("htmx:afterOnLoad", (event) => {
    if (event.detail.successful) document.getElementById(ID)?.remove();
  });
})();
