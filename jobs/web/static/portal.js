// What pages need beside htmx. Every page works without it; nothing here talks to anybody but this portal.
"use strict";

// The viewer's time zone, so that the server can write times in it. A preference, not a secret.
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (zone && !document.cookie.split("; ").some((one) => one === `assent-zone=${encodeURIComponent(zone)}`)) {
  const secure = location.protocol === "https:" ? "; secure" : "";
  const path = document.documentElement.dataset.base || "/";
  document.cookie = `assent-zone=${encodeURIComponent(zone)}; path=${path}; max-age=31536000; samesite=strict${secure}`;
}

// A confirmation comes as a dialog: shown over the page, and closed with what it was about set back.
document.addEventListener("htmx:afterSwap", (event) => {
  const dialog = event.target.querySelector("dialog[data-modal]");
  if (dialog) dialog.showModal();
});
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-close]");
  if (button) {
    event.preventDefault();
    button.closest("dialog").close();
  }
  const insert = event.target.closest("[data-insert]");
  if (insert) {
    const field = document.getElementById(insert.dataset.into);
    field.setRangeText(insert.dataset.insert, field.selectionStart, field.selectionEnd, "end");
    field.focus();
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }
});
document.addEventListener("close", (event) => {
  const form = document.getElementById(event.target.dataset?.resets ?? "");
  if (form) form.reset();
}, true);

// A form is sent once, however often its button is pressed; back in the page's history it can be sent again.
document.addEventListener("submit", (event) => {
  if (event.target.method !== "post" || event.target.dataset.again !== undefined) return;
  if (event.target.dataset.sent) event.preventDefault();
  event.target.dataset.sent = "1";
});
window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
});
