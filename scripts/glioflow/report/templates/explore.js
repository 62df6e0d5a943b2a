// Scatter plots of every case: any score, covariate or feature against any other. Of its own making and not a library's: points
// that are links, in one SVG, need a hundred lines, and no library draws points that the keyboard reaches.
{
  const WIDTH = 760, HEIGHT = 460, LEFT = 70, BOTTOM = 52, TOP = 14, RIGHT = 16;
  // Okabe & Ito; the last for cases of which nothing is known.
  const COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#F0E442", "#000000"];
  const UNKNOWN = "#9A9A9A";
  const SHAPES = "http://www.w3.org/2000/svg";
  const shape = (name, attributes, parent) => {
    const made = document.createElementNS(SHAPES, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    parent.append(made);
    return made;
  };
  const words = (value) => {
    const size = Math.abs(value);
    const text = size && (size < 1e-3 || size >= 1e6) ? size.toExponential(1) : String(+size.toPrecision(6));
    return (value < 0 ? "−" : "") + text;
  };
  // Round numbers that divide a range in about five.
  const ticks = (low, high) => {
    const rough = (high - low) / 5 || 1;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].find((each) => each * power >= rough) * power;
    const found = [];
    for (let tick = Math.ceil(low / step) * step; tick <= high + step * 1e-9; tick += step) found.push(+tick.toPrecision(12));
    return found;
  };

  class Sets {
    // The numbers and categories of the cases of each set, from the data of its table and what is known of its cases besides.
    constructor(article) {
      const [table, more] = [...article.querySelectorAll("script")].map((script) => JSON.parse(script.textContent));
      this.name = article.dataset.set;
      this.links = table.links;
      this.table = table;
      this.more = more;
      this.place = new Map(more.cases.map((name, index) => [name, index]));
      const at = (name) => table.columns.indexOf(name);
      this.region = at("Region");
      this.error = at("Main error");
      this.regions = [...new Set(table.rows.map((row) => row[this.region]))];
      this.scores = table.columns.filter((name, index) => table.decimals[index] !== null && name !== "Fold");
      this.measures = { ...more.numbers, ...more.predicted };
      this.numbers = [...this.scores, ...Object.keys(this.measures)];
      this.categories = [...(this.error < 0 ? [] : ["Main error"]), ...Object.keys(more.categories)];
    }

    value(row, name) {
      const column = this.scores.includes(name) ? this.table.columns.indexOf(name) : -1;
      const found = column >= 0 ? row[column] : this.measures[name][this.place.get(row[0])];
      return typeof found === "number" ? found : null;
    }

    category(row, name) {
      if (name === "Main error") return row[this.error] || null;
      return this.more.categories[name]?.[this.place.get(row[0])] ?? null;
    }

    // Points of a region: with a value on both axes; a case that is scored twice, with and without augmentation, counts once.
    points(region, x, y, colour) {
      const seen = new Set();
      const rows = this.table.rows.filter((row) => row[this.region] === region && !seen.has(row[0]) && seen.add(row[0]));
      const found = rows.map((row) => ({ name: row[0], x: this.value(row, x), y: this.value(row, y), group: this.category(row, colour) }));
      return { all: rows.length, points: found.filter((point) => point.x !== null && point.y !== null) };
    }
  }

  // Two axes with their grid, ticks and names around points with x and y; returns where a value stands on each. whole: x counts.
  const frame = (picture, points, x, y, whole = false) => {
    const axis = (key, from, to) => {
      const values = points.map((point) => point[key]);
      let [low, high] = values.length ? [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))] : [0, 1];
      const room = (high - low) * 0.04 || Math.abs(low) * 0.1 || 1;
      [low, high] = [low - room, high + room];
      return { ticks: ticks(low, high), at: (value) => from + ((value - low) / (high - low)) * (to - from) };
    };
    const across = axis("x", LEFT, WIDTH - RIGHT);
    const up = axis("y", HEIGHT - BOTTOM, TOP);
    for (const tick of across.ticks.filter((each) => !whole || Number.isInteger(each))) {
      shape("line", { x1: across.at(tick), x2: across.at(tick), y1: TOP, y2: HEIGHT - BOTTOM, class: "grid" }, picture);
      shape("text", { x: across.at(tick), y: HEIGHT - BOTTOM + 18, "text-anchor": "middle" }, picture).textContent = words(tick);
    }
    for (const tick of up.ticks) {
      shape("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: up.at(tick), y2: up.at(tick), class: "grid" }, picture);
      shape("text", { x: LEFT - 8, y: up.at(tick) + 4, "text-anchor": "end" }, picture).textContent = words(tick);
    }
    const middle = (TOP + HEIGHT - BOTTOM) / 2;
    shape("text", { x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 10, "text-anchor": "middle", class: "axis" }, picture).textContent = x;
    const turned = { x: 0, y: 0, transform: `translate(16 ${middle}) rotate(-90)`, "text-anchor": "middle", class: "axis" };
    shape("text", turned, picture).textContent = y;
    return { across, up };
  };
  const newPicture = (label) => {
    const picture = shape("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "group", class: "scatter" }, document.createElement("div"));
    picture.setAttribute("aria-label", label);
    return picture;
  };

  const place = document.getElementById("explore-plot");
  const sets = place ? [...document.querySelectorAll("article.cases")].map((article) => new Sets(article)) : [];
  if (sets.length) {
    const form = document.createElement("form");
    form.className = "filters";
    form.addEventListener("submit", (event) => event.preventDefault());
    const fields = {};
    const choice = (key, label) => {
      const field = document.createElement("select");
      field.name = `explore-${key}`;
      fields[key] = field;
      const around = document.createElement("label");
      around.append(`${label} `, field);
      form.append(around);
    };
    [["set", "Set"], ["region", "Region"], ["x", "Across"], ["y", "Up"], ["colour", "Colour"]].forEach(([key, label]) => choice(key, label));
    fields.set.append(...sets.map((set, index) => new Option(set.name, index)));
    fields.set.parentElement.hidden = sets.length < 2;
    const figure = document.createElement("div");
    figure.className = "scroll";
    const said = document.createElement("p");
    said.setAttribute("aria-live", "polite");
    place.append(form, figure, said);

    const fill = (field, values, wanted) => {
      const kept = values.includes(field.value) ? field.value : wanted;
      field.replaceChildren(...values.map((value) => new Option(value || "none", value)));
      field.value = values.includes(kept) ? kept : values[0];
    };
    const fillAll = () => {
      const set = sets[fields.set.value];
      fill(fields.region, set.regions, set.regions[0]);
      fill(fields.x, set.numbers, "Truth (ml)");
      fill(fields.y, set.numbers, "Dice");
      fill(fields.colour, ["", ...set.categories], "");
    };

    const draw = () => {
      const set = sets[fields.set.value];
      const [region, x, y, colour] = ["region", "x", "y", "colour"].map((key) => fields[key].value);
      const { all, points } = set.points(region, x, y, colour);
      const groups = [...new Set(points.map((point) => point.group).filter((group) => group !== null))].sort();
      const picture = newPicture(`${y} against ${x} of ${region}, ${points.length} cases`);
      const { across, up } = frame(picture, points, x, y);
      for (const point of points) {
        const anchor = set.links[point.name];
        const parent = anchor ? shape("a", { href: `#${anchor}` }, picture) : picture;
        const fill = colour ? (point.group === null ? UNKNOWN : COLOURS[groups.indexOf(point.group) % COLOURS.length]) : COLOURS[0];
        const mark = { cx: across.at(point.x), cy: up.at(point.y), r: anchor ? 5.5 : 4, fill, class: anchor ? "linked" : "point" };
        const dot = shape("circle", mark, parent);
        const group = colour ? `, ${colour}: ${point.group ?? "unknown"}` : "";
        shape("title", {}, dot).textContent = `${point.name}: ${x} ${words(point.x)}, ${y} ${words(point.y)}${group}`;
      }
      figure.replaceChildren(picture);
      const legend = document.createElement("p");
      legend.className = "viewer-legend";
      const unknown = points.some((point) => point.group === null);
      const shown = colour ? [...groups, ...(unknown ? ["unknown"] : [])] : [];
      shown.forEach((group, index) => {
        const item = document.createElement("span");
        item.style.setProperty("--mark", index < groups.length ? COLOURS[index % COLOURS.length] : UNKNOWN);
        item.textContent = group;
        legend.append(item);
      });
      figure.append(legend);
      const lost = all - points.length;
      said.textContent =
        `${points.length} cases of ${set.name}, ${region}` +
        (lost ? `; ${lost} have no number for one of the axes` : "") +
        ". Large points are the worst and the best cases, and lead to their pictures.";
    };
    form.addEventListener("input", (event) => {
      if (event.target === fields.set) fillAll();
      draw();
    });
    fillAll();
    draw();
  }

  // Volumes over the sessions of every patient who has several: the truth a full line, the prediction a dashed one.
  const spot = document.getElementById("explore-sessions");
  const followed = sets.filter((set) => set.more.sessions.length);
  if (spot && followed.length) {
    const form = document.createElement("form");
    form.className = "filters";
    form.addEventListener("submit", (event) => event.preventDefault());
    const choose = (name, label, values) => {
      const field = document.createElement("select");
      field.name = `sessions-${name}`;
      field.append(...values.map((value) => (value instanceof Option ? value : new Option(value, value))));
      const around = document.createElement("label");
      around.append(`${label} `, field);
      form.append(around);
      return field;
    };
    const set = choose("set", "Set", followed.map((each, index) => new Option(each.name, index)));
    set.parentElement.hidden = followed.length < 2;
    const all = followed.flatMap((each) => each.more.sessions);
    const region = choose("region", "Region", [...new Set(all.map((row) => row[0]))]);
    const patient = choose("patient", "Patient", [new Option("all", ""), ...[...new Set(all.map((row) => row[1]))].sort()]);
    const figure = document.createElement("div");
    figure.className = "scroll";
    const heading = document.createElement("h3");
    heading.textContent = "Volumes over sessions";
    const said = document.createElement("p");
    said.setAttribute("aria-live", "polite");
    spot.append(heading, form, figure, said);
    const draw = () => {
      const chosen = followed[set.value];
      const rows = chosen.more.sessions.filter((row) => row[0] === region.value && (!patient.value || row[1] === patient.value));
      const picture = newPicture(`Volumes of ${region.value} over the sessions of ${chosen.name}`);
      const points = rows.flatMap(([, , , x, ...both]) => both.filter((y) => y !== null).map((y) => ({ x, y })));
      const { across, up } = frame(picture, points, chosen.more.time, `Volume of ${region.value} (ml)`, chosen.more.time === "session");
      const people = [...new Set(rows.map((row) => row[1]))];
      people.forEach((name, index) => {
        const own = rows.filter((row) => row[1] === name);
        [4, 5].forEach((column) => {
          const line = own.filter((row) => row[column] !== null);
          const path = line.map((row, step) => `${step ? "L" : "M"}${across.at(row[3])} ${up.at(row[column])}`).join("");
          const colour = COLOURS[index % (COLOURS.length - 1)];
          shape("path", { d: path, fill: "none", stroke: colour, "stroke-width": 1.6, "stroke-dasharray": column > 4 ? "5 4" : "none" }, picture);
          for (const row of line) {
            const anchor = chosen.links[row[2]];
            const parent = anchor ? shape("a", { href: `#${anchor}` }, picture) : picture;
            const mark = { cx: across.at(row[3]), cy: up.at(row[column]), r: anchor ? 5.5 : 4, fill: colour, class: anchor ? "linked" : "point" };
            const what = column > 4 ? "prediction" : "truth";
            shape("title", {}, shape("circle", mark, parent)).textContent = `${row[2]} of ${name}: ${what} ${words(row[column])} ml`;
          }
        });
      });
      figure.replaceChildren(picture);
      said.textContent = `Patients with several sessions: ${people.length}. Truth: full lines; prediction: dashed ones.`;
    };
    form.addEventListener("input", draw);
    draw();
  }
}
