/* Shows only the scenarios whose names have what is typed in them. */
const box = document.getElementById("filter");
box.hidden = false;
box.querySelector("input").addEventListener("input", (event) => {
  const wanted = event.target.value.trim().toLowerCase();
  for (const group of document.querySelectorAll(".group")) {
    let found = 0;
    for (const item of group.querySelectorAll("li[data-name]")) {
      item.hidden = !item.dataset.name.includes(wanted);
      found += item.hidden ? 0 : 1;
    }
    group.hidden = found === 0;
    group.open = wanted !== "" && found > 0;
  }
});
