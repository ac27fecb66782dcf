// What every page needs: marks that scripts run, keys in lists, filters that apply at once, copying, the purpose.

document.documentElement.classList.add("js");

const typing = (target) => target instanceof Element && target.closest("input, select, textarea, [contenteditable]");

function keysInList(list) {
  const links = [...list.querySelectorAll(".row-link")];
  const move = (step) => {
    const at = links.indexOf(document.activeElement);
    const next = at < 0 ? (step > 0 ? 0 : links.length - 1) : at + step;
    links[Math.max(0, Math.min(links.length - 1, next))]?.focus();
    document.activeElement?.closest("tr")?.scrollIntoView({ block: "nearest" });
  };
  document.addEventListener("keydown", (event) => {
    if (typing(event.target) || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "j") move(1);
    else if (event.key === "k") move(-1);
    else return;
    event.preventDefault();
  });
}

function keyToSearch(field) {
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && event.target === field) field.blur();
    if (event.key !== "/" || typing(event.target)) return;
    event.preventDefault();
    field.focus();
    field.select();
  });
}

function applyAtOnce(form) {
  // Empty fields stay out of the address, so that it can be read and sent.
  form.addEventListener("submit", () => {
    for (const field of form.elements) if (field.name && field.value === "") field.disabled = true;
  });
  form.addEventListener("change", (event) => {
    if (event.target.type !== "search") form.requestSubmit();
  });
}

function copying(button) {
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.dataset.copy);
    const words = button.textContent;
    button.textContent = button.dataset.done;
    setTimeout(() => { button.textContent = words; }, 1200);
  });
}

function choosingPurpose(form) {
  const kind = form.elements.namedItem("kind");
  const words = form.elements.namedItem("words");
  const button = form.querySelector("button");
  const show = () => {
    const other = kind.value === "other";
    words.toggleAttribute("data-hidden", !other);
    words.required = other;
    button.classList.toggle("needed", other);
    return other;
  };
  show();
  kind.addEventListener("change", () => {
    if (show()) words.focus();
    else form.requestSubmit();
  });
}

for (const list of document.querySelectorAll("[data-list]")) keysInList(list);
for (const field of document.querySelectorAll("[data-search]")) keyToSearch(field);
for (const form of document.querySelectorAll("[data-filters]")) applyAtOnce(form);
for (const button of document.querySelectorAll("[data-copy]")) copying(button);
for (const form of document.querySelectorAll("[data-purpose]")) choosingPurpose(form);
