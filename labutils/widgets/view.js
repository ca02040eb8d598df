// A picture with a map over it. All words come in as text, never as HTML.

function element(kind, className, parent) {
  const made = document.createElement(kind);
  made.className = className;
  parent.append(made);
  return made;
}

function render({ model, el }) {
  const figure = element("figure", "labutils-view", el);
  const stack = element("div", "labutils-stack", figure);
  const photo = element("img", "labutils-photo", stack);
  const map = element("img", "labutils-map", stack);
  const lines = element("div", "labutils-lines", stack);
  const box = element("div", "labutils-box", stack);
  const cell = element("div", "labutils-cell", stack);
  const spinner = element("div", "labutils-spinner", stack);
  const legend = element("div", "labutils-legend", figure);
  const strip = element("img", "labutils-strip", legend);
  const ends = element("div", "labutils-ends", legend);
  const caption = element("figcaption", "labutils-caption", figure);
  const spoken = element("div", "labutils-spoken", figure);
  photo.alt = map.alt = strip.alt = "";
  spinner.setAttribute("role", "status");
  spoken.setAttribute("aria-live", "polite");

  const addresses = new Map();
  function picture(image, name) {
    const bytes = model.get(name);
    URL.revokeObjectURL(addresses.get(image));
    addresses.delete(image);
    image.hidden = !(bytes && bytes.byteLength);
    if (image.hidden) {
      image.removeAttribute("src");
      return;
    }
    addresses.set(image, URL.createObjectURL(new Blob([bytes], { type: "image/png" })));
    image.src = addresses.get(image);
  }

  const place = (part, [top, left, height, width]) =>
    Object.assign(part.style, {
      top: `${100 * top}%`, left: `${100 * left}%`, height: `${100 * height}%`, width: `${100 * width}%`,
    });

  const draw = {
    photo: () => picture(photo, "photo"),
    map: () => picture(map, "map"),
    opacity: () => (map.style.opacity = model.get("opacity")),
    grey: () => (photo.style.filter = model.get("grey") ? "grayscale(1)" : ""),
    small: () => stack.classList.toggle("labutils-small", model.get("small")),
    width: () => (figure.style.width = `${model.get("width")}px`),
    aspect: () => (stack.style.aspectRatio = model.get("aspect")),
    caption: () => (caption.textContent = model.get("caption")),
    alt: name,
    legend: () => picture(strip, "legend"),
    ends: () => {
      const words = model.get("ends");
      legend.hidden = words.length === 0;
      ends.replaceChildren(...words.map((word) => Object.assign(document.createElement("span"), { textContent: word })));
    },
    busy: () => {
      const busy = model.get("busy");
      stack.classList.toggle("labutils-busy", busy);
      stack.setAttribute("aria-busy", busy);
      spinner.textContent = busy ? "computing" : "";
    },
    grid: () => {
      const [rows, columns] = model.get("grid");
      const choosable = rows > 0;
      stack.classList.toggle("labutils-choosable", choosable);
      lines.hidden = !choosable || !model.get("marks");
      lines.style.backgroundSize = `${100 / columns}% ${100 / rows}%`;
      if (choosable) stack.tabIndex = 0;
      else stack.removeAttribute("tabindex");
      name();
      draw.chosen();
    },
    chosen: () => {
      const [rows, columns] = model.get("grid");
      const [row, column] = model.get("chosen");
      cell.hidden = !rows || row === undefined || !model.get("marks");
      if (!cell.hidden) place(cell, [row / rows, column / columns, 1 / rows, 1 / columns]);
      name();
    },
    box: () => {
      const where = model.get("box");
      box.hidden = where.length !== 4;
      if (!box.hidden) place(box, where);
    },
    place: name,
  };

  function name() {
    const [rows, columns] = model.get("grid");
    const [row, column] = model.get("chosen");
    const words = model.get("alt");
    if (rows) {
      const where = row === undefined ? "none chosen" : `row ${row}, column ${column}`;
      const counted = `${rows} rows and ${columns} columns, counted from 0`;
      stack.setAttribute("role", "application");
      stack.setAttribute("aria-label", `${model.get("place")}: ${where}, of ${counted}. The arrow keys choose. ${words}`);
      spoken.textContent = row === undefined ? "" : `${model.get("place")} ${where}`;
    } else {
      stack.setAttribute("role", "img");
      stack.setAttribute("aria-label", words);
      spoken.textContent = "";
    }
  }

  function choose(row, column) {
    const [rows, columns] = model.get("grid");
    const within = (value, count) => Math.max(0, Math.min(count - 1, value));
    model.set("chosen", [within(row, rows), within(column, columns)]);
    model.save_changes();
  }

  stack.addEventListener("pointerdown", (event) => {
    const [rows, columns] = model.get("grid");
    if (!rows || event.button !== 0) return;
    const { left, top, width, height } = stack.getBoundingClientRect();
    choose(
      Math.floor((rows * (event.clientY - top)) / height),
      Math.floor((columns * (event.clientX - left)) / width),
    );
  });

  const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  // JupyterLab would take the arrow for itself and go to the next cell, before the picture hears of it.
  function keepFromNotebook(event) {
    if (event.target === stack) stack.toggleAttribute("data-lm-suppress-shortcuts", event.key in steps);
  }
  window.addEventListener("keydown", keepFromNotebook, { capture: true });

  stack.addEventListener("keydown", (event) => {
    const [rows, columns] = model.get("grid");
    const step = steps[event.key];
    if (!rows || !step) return;
    event.preventDefault();
    event.stopPropagation();
    const [row, column] = model.get("chosen");
    if (row === undefined) choose(Math.floor(rows / 2), Math.floor(columns / 2));
    else choose(row + step[0], column + step[1]);
  });

  for (const [trait, redraw] of Object.entries(draw)) {
    model.on(`change:${trait}`, redraw);
    redraw();
  }

  return () => {
    window.removeEventListener("keydown", keepFromNotebook, { capture: true });
    for (const [trait, redraw] of Object.entries(draw)) model.off(`change:${trait}`, redraw);
    for (const address of addresses.values()) URL.revokeObjectURL(address);
  };
}

export default { render };
