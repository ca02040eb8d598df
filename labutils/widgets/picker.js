// Photos to choose from, and files on their way to the kernel. All words come in as text, never as HTML.

const PART = 1_000_000; // bytes: one message of more than 10 MB ends a Jupyter server's connection
const AHEAD = 4; // parts that may be on their way at once
const PATIENCE = 3_000; // milliseconds until it is said that the kernel does not answer

// Kinds that the kernel reads. An iPhone hands over a JPEG where HEIC is not among them.
const KINDS = "image/jpeg,image/png,image/webp,image/gif,image/bmp,image/tiff,image/avif";

function element(kind, className, parent, properties = {}) {
  const made = Object.assign(document.createElement(kind), properties);
  made.className = className;
  parent.append(made);
  return made;
}

let uploads = 0;
// crypto.randomUUID is there only on https and localhost.
const newName = () => `${Date.now()}-${Math.random()}-${(uploads += 1)}`;

function render({ model, el }) {
  const root = element("section", "labutils-picker", el);
  root.setAttribute("aria-label", "Photo picker");
  root.tabIndex = -1; // a click beside the photos brings the focus here, and so what is pasted

  const tools = element("div", "labutils-picker-tools", root);
  const add = element("button", "labutils-picker-add", tools, { type: "button", textContent: "Add photos…" });
  const input = element("input", "labutils-picker-file", tools, { type: "file", multiple: true, accept: KINDS });
  input.hidden = true;
  input.setAttribute("aria-label", "Photos to add");
  const hint = element("span", "labutils-picker-hint", tools, { textContent: "or drop or paste them here" });
  const all = element("button", "labutils-picker-all", tools, { type: "button", textContent: "Choose all" });
  const none = element("button", "labutils-picker-none", tools, { type: "button", textContent: "Choose none" });
  const count = element("span", "labutils-picker-count", tools);

  const grid = element("div", "labutils-picker-grid", root);
  grid.setAttribute("role", "group");

  const progress = element("div", "labutils-picker-progress", root);
  const bar = element("progress", "", progress);
  const doing = element("span", "", progress);
  const stop = element("button", "labutils-picker-stop", progress, { type: "button", textContent: "Stop" });
  bar.setAttribute("aria-label", "Progress");

  const status = element("div", "labutils-picker-status", root);
  status.setAttribute("role", "status");

  const more = element("details", "labutils-picker-more", root);
  element("summary", "", more, { textContent: "Photos of a whole folder" });
  const form = element("form", "", more);
  const label = element("label", "", form, { textContent: "Folder, on the computer where the notebook runs" });
  const path = element("input", "labutils-picker-path", label, { type: "text", spellcheck: false, autocomplete: "off" });
  path.placeholder = "holiday/2025";
  element("button", "labutils-picker-open", form, { type: "submit", textContent: "Open folder" });

  // JupyterLab takes letters and arrows for commands to the cell (D twice deletes it), before anything here hears of them,
  // unless what has the focus bears this mark. Ctrl+S and the like shall go on working.
  function keepFromNotebook(event) {
    if (!root.contains(event.target)) return;
    event.target.toggleAttribute("data-lm-suppress-shortcuts", !(event.ctrlKey || event.metaKey || event.altKey));
  }
  window.addEventListener("keydown", keepFromNotebook, { capture: true });

  // Choosing ---------------------------------------------------------------------------------------------------------

  const addresses = [];
  let current = 0; // the one photo that the Tab key reaches; arrow keys lead to the others

  function drawPhotos() {
    const photos = model.get("photos");
    const before = grid.children.length;
    // Photos only join: those that are there keep their buttons, and so the focus.
    for (let index = grid.children.length; index < photos.length; index += 1) {
      const { name, source, picture } = photos[index];
      const button = element("button", "labutils-picker-photo", grid, { type: "button", title: name });
      const address = URL.createObjectURL(new Blob([picture]));
      addresses.push(address);
      const image = element("img", "", button, { src: address, alt: "", draggable: false });
      image.addEventListener("load", () => {
        image.classList.toggle("labutils-picker-small", Math.max(image.naturalWidth, image.naturalHeight) < 40);
      });
      element("span", "labutils-picker-name", button, { textContent: name });
      if (source) element("span", "labutils-picker-source", button, { textContent: source });
      button.addEventListener("click", () => toggle(index));
      button.addEventListener("focus", () => reach(index));
    }
    grid.hidden = photos.length === 0;
    drawChosen();
    const looking = grid.matches(":hover") || grid.contains(document.activeElement);
    if (before && photos.length > before && !looking) grid.scrollTop = grid.scrollHeight; // to the new ones
  }

  function drawChosen() {
    const chosen = new Set(model.get("chosen"));
    const photos = grid.children.length;
    [...grid.children].forEach((button, index) => button.setAttribute("aria-pressed", chosen.has(index)));
    if (!grid.contains(document.activeElement)) reach(Math.min(...chosen, photos - 1));
    count.textContent = `${[...chosen].filter((index) => index < photos).length} of ${photos} chosen`;
    all.disabled = chosen.size >= photos;
    none.disabled = chosen.size === 0;
  }

  function drawMultiple() {
    const multiple = model.get("multiple");
    grid.setAttribute("aria-label", multiple ? "Photos, any number can be chosen" : "Photos, one is chosen");
    for (const part of [all, none, count]) part.hidden = !multiple;
  }

  function choose(indices) {
    model.set("chosen", indices.sort((one, other) => one - other));
    model.save_changes();
  }

  function toggle(index) {
    const chosen = model.get("chosen");
    if (!model.get("multiple")) choose([index]);
    else choose(chosen.includes(index) ? chosen.filter((other) => other !== index) : [...chosen, index]);
  }

  function reach(index) {
    current = index;
    [...grid.children].forEach((button, other) => (button.tabIndex = other === index ? 0 : -1));
  }

  grid.addEventListener("keydown", (event) => {
    const buttons = [...grid.children];
    const top = buttons[0]?.offsetTop;
    const columns = buttons.filter((button) => button.offsetTop === top).length;
    const goals = {
      ArrowLeft: current - 1, ArrowRight: current + 1, ArrowUp: current - columns, ArrowDown: current + columns,
      Home: 0, End: buttons.length - 1,
    };
    if (!(event.key in goals) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    buttons[goals[event.key]]?.focus();
  });

  all.addEventListener("click", () => choose([...grid.children].map((_, index) => index)));
  none.addEventListener("click", () => choose([]));

  // Files ------------------------------------------------------------------------------------------------------------

  const waiting = []; // files of this page that are still to be sent
  let sent = 0;
  let total = 0;
  let sending = null; // the upload under way: its name, and what ends the waiting for the kernel's answer

  function drawProgress() {
    const loading = model.get("progress");
    progress.hidden = !sending && !loading.what;
    if (sending) {
      bar.max = total;
      bar.value = sent + sending.share;
      const number = total > 1 ? ` (${sent + 1} of ${total})` : "";
      doing.textContent = sending.slow
        ? "Waiting for the kernel; it may be busy with a cell…"
        : `Uploading ${sending.file.name}${number}`;
    } else if (loading.what) {
      bar.max = loading.total;
      bar.value = loading.done;
      doing.textContent = `${loading.what}: ${loading.done} of ${loading.total}`;
    }
  }

  const refuse = (batch, text, upload) => model.send({ kind: "refused", batch, upload, text });

  function addFiles(files, folders = []) {
    const batch = newName();
    const most = model.get("most_files");
    for (const name of folders) refuse(batch, `${name} is a folder: drop the photos in it, or open it below by its path.`);
    if (files.length > most) refuse(batch, `Only the first ${most} of ${files.length} files were taken.`);
    const taken = files.slice(0, most);
    total += taken.length;
    waiting.push(...taken.map((file) => ({ file, batch })));
    if (!sending) sendAll();
  }

  async function sendAll() {
    while (waiting.length) {
      const { file, batch } = waiting.shift();
      sending = { file, batch, upload: newName(), parts: 0, share: 0, over: false, slow: false, answered: () => {} };
      try {
        await send(sending);
      } catch (error) {
        // A file that was moved or changed while it was read, or a closed connection.
        refuse(batch, `${file.name} could not be read (${error.message}). Add it again.`, sending.upload);
      }
      sent += 1;
    }
    sending = null;
    sent = total = 0;
    drawProgress();
  }

  async function send(under) {
    const { file, batch, upload } = under;
    for (let offset = 0; !under.over; ) {
      drawProgress();
      const part = await file.slice(offset, offset + PART).arrayBuffer();
      if (under.over) return;
      model.send({ kind: "part", upload, batch, name: file.name, size: file.size, offset }, undefined, [part]);
      offset += part.byteLength;
      under.parts += 1;
      // After the last part, and after one that came out empty, only the end is waited for.
      const finished = offset >= file.size || part.byteLength === 0;
      while (!under.over && (finished || under.parts >= AHEAD)) await answer(under);
      under.share = offset / file.size;
    }
  }

  async function answer(under) {
    const slow = setTimeout(() => {
      under.slow = true;
      drawProgress();
    }, PATIENCE);
    await new Promise((resolve) => (under.answered = resolve));
    clearTimeout(slow);
    under.slow = false;
  }

  function onMessage(message) {
    if (message.kind !== "received" || message.upload !== sending?.upload) return;
    sending.parts -= 1;
    sending.over ||= message.over;
    sending.answered();
  }

  function stopAll() {
    model.send({ kind: "stop" });
    if (!sending) return;
    const others = waiting.length ? ` and ${waiting.length} more` : "";
    waiting.length = 0;
    refuse(sending.batch, `Stopped: ${sending.file.name}${others} not added.`, sending.upload);
    sending.over = true;
    sending.answered();
  }

  stop.addEventListener("click", stopAll);
  add.addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    addFiles([...input.files]);
    input.value = ""; // so that the same file can be added again
  });

  const carriesFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  const highlight = (on) => root.classList.toggle("labutils-picker-over", on);
  for (const kind of ["dragenter", "dragover"]) {
    root.addEventListener(kind, (event) => {
      if (!carriesFiles(event)) return;
      event.preventDefault();
      event.stopPropagation();
      event.dataTransfer.dropEffect = "copy";
      highlight(true);
    });
  }
  root.addEventListener("dragleave", (event) => {
    if (!root.contains(event.relatedTarget)) highlight(false);
  });
  root.addEventListener("drop", (event) => {
    highlight(false);
    if (!carriesFiles(event)) return;
    event.preventDefault(); // or the browser would leave the notebook and show the photo
    event.stopPropagation();
    const files = [];
    const folders = [];
    for (const item of event.dataTransfer.items) {
      if (item.kind !== "file") continue;
      const file = item.getAsFile();
      const entry = item.webkitGetAsEntry?.();
      if (entry?.isDirectory) folders.push(entry.name);
      else if (file) files.push(file);
    }
    addFiles(files, folders);
  });
  root.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    event.stopPropagation();
    addFiles(files);
  });

  path.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault(); // JupyterLab keeps the Enter key from sending a form
    form.requestSubmit();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    model.send({ kind: "folder", path: path.value });
  });

  // ------------------------------------------------------------------------------------------------------------------

  const draw = {
    photos: drawPhotos,
    chosen: drawChosen,
    multiple: drawMultiple,
    progress: drawProgress,
    status: () => (status.textContent = model.get("status")),
  };
  for (const [trait, redraw] of Object.entries(draw)) {
    model.on(`change:${trait}`, redraw);
    redraw();
  }
  model.on("msg:custom", onMessage);

  return () => {
    for (const [trait, redraw] of Object.entries(draw)) model.off(`change:${trait}`, redraw);
    model.off("msg:custom", onMessage);
    window.removeEventListener("keydown", keepFromNotebook, { capture: true });
    if (sending) stopAll();
    for (const address of addresses) URL.revokeObjectURL(address);
  };
}

export default { render };
