
// Without this script everything is shown, and the forms are not. What stands behind the page's # is chosen at once:
// report.html#kind=wrong&iteration=3
const PAGE = 20, asked = new URLSearchParams(location.hash.slice(1));
for (const form of document.querySelectorAll("form.filter")) {
  const list = form.nextElementSibling, articles = [...list.children], shown = form.querySelector("output");
  const more = document.createElement("button");
  more.className = "screen-only";
  let most = PAGE;
  const tests = {
    text: (article, value) => article.textContent.toLowerCase().includes(value.toLowerCase()),
    shortest: (article, value) => Number(article.dataset.tokens) >= Number(value),
    longest: (article, value) => Number(article.dataset.tokens) <= Number(value),
  };
  const fits = (article) => [...form.elements].every(({ name, value }) =>
    !name || !value || (tests[name] ? tests[name](article, value) : article.dataset[name] === value));
  const choose = () => {
    const found = articles.filter(fits), page = new Set(found.slice(0, most));
    for (const article of articles) article.hidden = !page.has(article);
    shown.textContent = `${found.length} of ${articles.length}`;
    more.hidden = found.length <= most;
    more.textContent = `${found.length - most} more`;
  };
  const anew = () => { most = PAGE; choose(); };
  form.addEventListener("input", anew);
  form.addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", () => { most += 5 * PAGE; choose(); });
  for (const control of form.elements) if (asked.has(control.name)) control.value = asked.get(control.name);
  list.after(more);
  form.hidden = false;
  choose();
}
