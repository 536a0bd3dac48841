// What Bokeh does not do of itself: decoding pictures, the swipe, and drawing the spectra of the chosen pixel.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const [width, height] = data.size;
  const layers = new Map(); // name of a picture -> composite -> { columns, rows, pixels }
  let bokeh = null, composite = null, place = null;

  const model = (name) => bokeh.get_model_by_name(name);
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;

  async function decoded(address) {
    const image = new Image();
    image.src = address;
    await image.decode();
    const canvas = document.createElement("canvas");
    canvas.width = image.naturalWidth;
    canvas.height = image.naturalHeight;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    const { data: values } = context.getImageData(0, 0, canvas.width, canvas.height);
    return { columns: canvas.width, rows: canvas.height, pixels: new Uint32Array(values.buffer) };
  }

  async function readPictures() {
    for (const picture of data.pictures) {
      const found = new Map();
      for (const [name, address] of Object.entries(picture.composites)) found.set(name, await decoded(address));
      layers.set(picture.name, found);
    }
  }

  const layer = (name) => {
    const found = layers.get(name);
    return found.get(composite) ?? found.values().next().value;
  };

  function show(source, image, x, extent) {
    const Picture = source.data.image[0].constructor; // Bokeh's own array with a shape
    const pixels = new Picture(image.pixels.buffer, [image.rows, image.columns]);
    source.data = { image: [pixels], x: [x], y: [0], width: [extent[0]], height: [extent[1]] };
  }

  function cut(image, from, to) {
    const columns = to - from, pixels = new Uint32Array(image.rows * columns);
    for (let row = 0; row < image.rows; row++) {
      pixels.set(image.pixels.subarray(row * image.columns + from, row * image.columns + to), row * columns);
    }
    return { columns, rows: image.rows, pixels };
  }

  // A coarse picture is cut between its pixels, so each is repeated until it is as fine as the finest.
  function finer(image) {
    const finest = Math.max(...data.pictures.map((picture) => layer(picture.name).columns));
    const times = Math.max(Math.round(finest / image.columns), 1);
    if (times === 1) return image;
    const columns = image.columns * times, pixels = new Uint32Array(image.rows * columns);
    for (let i = 0; i < pixels.length; i++) pixels[i] = image.pixels[Math.floor(i / times)];
    return { columns, rows: image.rows, pixels };
  }

  function drawPictures() {
    data.pictures.forEach((picture, number) => {
      show(model(`picture-${number}`), layer(picture.name), 0, picture.extent);
    });
    drawSwipe();
  }

  function drawSwipe() {
    if (!byId("swipe")) return;
    const x = model("x"), share = byId("swipe").value / 1000;
    const at = Math.min(Math.max(x.start + share * (x.end - x.start), 0), width);
    for (const side of ["left", "right"]) {
      const picture = data.pictures.find(({ name }) => name === byId(`swipe-${side}`).value);
      const image = finer(layer(picture.name));
      const middle = Math.min(Math.max(Math.round((at / picture.extent[0]) * image.columns), 0), image.columns);
      const [from, to] = side === "left" ? [0, middle] : [middle, image.columns];
      const step = picture.extent[0] / image.columns;
      const part = from < to ? cut(image, from, to) : { columns: 1, rows: 1, pixels: new Uint32Array(1) };
      show(model(`swipe-${side}`), part, from * step, [Math.max(to - from, 1e-3) * step, picture.extent[1]]);
    }
    for (const line of model("swipe").center.filter((each) => each.type === "Span")) line.location = at;
    const names = ["left", "right"].map((side) => byId(`swipe-${side}`).value);
    byId("swipe").setAttribute("aria-valuetext",
      `${Math.round(100 * share)} %: ${names[0]} left of it, ${names[1]} right of it`);
  }

  // Spectra are kept in 16 bits between their own least and greatest value; 65535 is not known.
  function read(curve, number) {
    const { bands } = data.spectra;
    if (!curve.levels) {
      curve.levels = new Uint16Array(bytes(curve.steps));
      curve.lows = new Float32Array(bytes(curve.low));
      curve.ranges = new Float32Array(bytes(curve.range));
    }
    const levels = curve.levels.subarray(number * bands, (number + 1) * bands);
    return Array.from(levels, (level) =>
      level === 65535 ? NaN : curve.lows[number] + (level / 65534) * curve.ranges[number]);
  }

  function angle(one, other) {
    let dot = 0, first = 0, second = 0;
    one.forEach((value, band) => {
      if (Number.isNaN(value) || Number.isNaN(other[band])) return;
      dot += value * other[band];
      first += value * value;
      second += other[band] * other[band];
    });
    return (Math.acos(Math.min(dot / Math.sqrt(first * second), 1)) * 180) / Math.PI;
  }

  function nearest(values, wanted) {
    let best = 0;
    values.forEach((value, i) => {
      if (Math.abs(value + 0.5 - wanted) < Math.abs(values[best] + 0.5 - wanted)) best = i;
    });
    return best;
  }

  function choose(x, y) {
    if (!data.spectra || Number.isNaN(x + y)) return;
    const { columns, rows } = data.spectra;
    goTo(nearest(columns, x), nearest(rows, y));
  }

  function goTo(across, down) {
    const { columns, rows, curves, spread, index, x } = data.spectra;
    place = [Math.min(Math.max(across, 0), columns.length - 1), Math.min(Math.max(down, 0), rows.length - 1)];
    const column = columns[place[0]], row = rows[place[1]], number = place[1] * columns.length + place[0];
    model("chosen").data = { x: [column + 0.5], y: [row + 0.5] };
    byId("column").value = column;
    byId("row").value = row;
    const at = (values) => index.map((band) => (band < 0 ? NaN : values[band]));
    const positions = x.map((value) => (value === null ? NaN : value));
    const shown = { x: positions }, spectra = new Map();
    for (const [name, curve] of Object.entries(curves)) {
      spectra.set(name, read(curve, number));
      shown[name] = at(spectra.get(name));
    }
    for (const [name, curve] of Object.entries(spread)) {
      const sigma = read(curve, number), middle = spectra.get(name);
      model(`spread ${name}`).data = outlines(positions, at(middle), at(sigma));
      spectra.set(`${name}: standard deviation`, sigma);
    }
    model("spectra").data = shown;
    tell(column, row, Object.keys(curves), spectra);
    fillTable(positions, index, spectra);
  }

  // Around a curve, one outline for each of its unbroken parts.
  function outlines(positions, middle, sigma) {
    const parts = { x: [], y: [] };
    let begin = 0;
    for (let i = 0; i <= positions.length; i++) {
      if (i < positions.length && !Number.isNaN(middle[i] + sigma[i])) continue;
      if (i > begin) {
        const bands = Array.from({ length: i - begin }, (_, k) => begin + k), back = [...bands].reverse();
        parts.x.push([...bands, ...back].map((band) => positions[band]));
        parts.y.push([...bands.map((band) => middle[band] - sigma[band]), ...back.map((band) => middle[band] + sigma[band])]);
      }
      begin = i + 1;
    }
    return parts;
  }

  function tell(column, row, names, spectra) {
    const known = names.filter((name) => spectra.get(name).some((value) => !Number.isNaN(value)));
    const missing = names.filter((name) => !known.includes(name));
    let text = `Column ${column}, row ${row}`;
    if (known.length > 1) {
      const angles = known.slice(1).map((name) =>
        `${name} ${angle(spectra.get(known[0]), spectra.get(name)).toFixed(2)}°`);
      text += `: spectral angle to ${known[0]}: ${angles.join(", ")}`;
    }
    byId("chosen").textContent = text + (missing.length ? `; no data in ${missing.join(", ")}` : "") + ".";
  }

  function fillTable(positions, index, spectra) {
    const table = byId("values"), heading = model("spectrum").below[0].axis_label;
    const cell = (kind, text) => Object.assign(document.createElement(kind), { textContent: text });
    const rows = [document.createElement("tr")];
    rows[0].append(...[heading, ...spectra.keys()].map((name) => cell("th", name)));
    rows[0].querySelectorAll("th").forEach((each) => { each.scope = "col"; });
    index.forEach((band, i) => {
      if (band < 0) return;
      const row = document.createElement("tr");
      row.append(cell("th", positions[i]), ...[...spectra.values()].map((values) =>
        cell("td", Number.isNaN(values[band]) ? "–" : Number(values[band].toPrecision(5)))));
      row.firstChild.scope = "row";
      rows.push(row);
    });
    table.replaceChildren(...rows);
  }

  function zoom(factor) {
    for (const range of [model("x"), model("y")]) {
      const [low, high] = range.bounds, sign = Math.sign(range.end - range.start);
      const half = Math.min(Math.abs(range.end - range.start) / factor, high - low) / 2;
      const wanted = (range.start + range.end) / 2;
      const middle = Math.min(Math.max(wanted, low + half), high - half);
      range.setv({ start: middle - sign * half, end: middle + sign * half });
    }
  }

  // Frames of pictures and maps get the width that there is, and with it the height that keeps pixels square.
  function fit() {
    const { left, right, aspect } = data.frame;
    document.querySelectorAll(".view").forEach((figure) => {
      const wide = Math.max(Math.floor(figure.clientWidth) - left - right, 120);
      const target = bokeh.roots().find((root) => figure.querySelector(`[data-root-id="${root.id}"]`));
      if (target && target.frame_width !== wide) {
        target.setv({ frame_width: wide, frame_height: Math.round(wide / aspect) });
      }
    });
  }

  function listen() {
    const legends = byId("composites"), names = new Set();
    data.pictures.forEach((picture) => Object.keys(picture.composites).forEach((name) => names.add(name)));
    composite = names.values().next().value;
    for (const name of names) {
      const label = document.createElement("label"), radio = document.createElement("input");
      Object.assign(radio, { type: "radio", name: "composite", value: name, checked: name === composite });
      radio.addEventListener("change", () => { composite = name; drawPictures(); });
      label.append(radio, ` ${name}`);
      legends.append(label);
    }
    byId("zoom-in").addEventListener("click", () => zoom(1.5));
    byId("zoom-out").addEventListener("click", () => zoom(1 / 1.5));
    byId("whole").addEventListener("click", () => zoom(1e-6));
    document.querySelectorAll(".ground").forEach((ground) => ground.addEventListener("keydown", onKey));
    if (byId("swipe")) {
      data.swiped.forEach((name, i) => { byId(["swipe-left", "swipe-right"][i]).value = name; });
      for (const id of ["swipe", "swipe-left", "swipe-right"]) byId(id).addEventListener("input", drawSwipe);
      model("x").change.connect(drawSwipe);
    }
  }

  function onKey(event) {
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const zooms = { "+": 1.5, "=": 1.5, "-": 1 / 1.5, 0: 1e-6 };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in moves && place) goTo(place[0] + moves[event.key][0], place[1] + moves[event.key][1]);
    else if (event.key in zooms) zoom(zooms[event.key]);
    else return;
    event.preventDefault();
  }

  function firstPlace() {
    const { columns, rows, curves } = data.spectra;
    const curve = Object.values(curves)[0];
    const known = (across, down) => !Number.isNaN(read(curve, down * columns.length + across)[0]);
    const middle = [Math.floor(columns.length / 2), Math.floor(rows.length / 2)];
    for (let down = 0; down < rows.length && !known(...middle); down++) {
      const across = columns.findIndex((_, i) => known(i, down));
      if (across >= 0) return [across, down];
    }
    return middle;
  }

  async function begin() {
    const drawn = () => window.Bokeh && window.Bokeh.documents.length > 0;
    while (!drawn()) await new Promise((done) => setTimeout(done, 20));
    bokeh = window.Bokeh.documents[0];
    window.hsfuse = { choose, zoom };
    if (data.pictures.length) {
      await readPictures();
      listen();
      drawPictures();
    }
    if (data.spectra) {
      goTo(...firstPlace());
      const typed = () => choose(byId("column").valueAsNumber + 0.5, byId("row").valueAsNumber + 0.5);
      for (const id of ["column", "row"]) byId(id).addEventListener("change", typed);
    }
    fit();
    window.addEventListener("resize", fit);
    if (window.matchMedia("(pointer: coarse)").matches) {
      for (const root of bokeh.roots()) root.toolbar.active_drag = null;
    }
    document.documentElement.dataset.ready = "yes";
  }

  begin();
})();
