// The tables of every case: sorted by a click on a heading, filtered by set, region, main error and text. Without it they stand
// in the order of their file. Of a long table only the rows in sight are in the page, so that a filter acts at once.
{
  const STEP = 50; // rows that are added when the end of a table comes into sight
  const ALL = "";
  const numbered = (value, decimals) => {
    // As the report itself rounds: a tie to the even neighbour, and a true minus sign.
    const scaled = Math.abs(value) * 10 ** decimals;
    const tie = scaled % 1 === 0.5 && Math.floor(scaled) % 2 === 0;
    const text = (tie ? Math.floor(scaled) / 10 ** decimals : Math.abs(value)).toFixed(decimals);
    return (value < 0 && Number(text) !== 0 ? "−" : "") + text;
  };
  const rank = (value) => (typeof value === "number" ? value : value === "∞" ? Infinity : value === "−∞" ? -Infinity : NaN);

  class CaseTable {
    constructor(article) {
      this.article = article;
      const [data, more] = [...article.querySelectorAll("script")].map((script) => JSON.parse(script.textContent));
      this.data = data;
      this.more = more;
      this.place = new Map(more.cases.map((name, index) => [name, index]));
      this.levels = { ...more.categories, ...more.levels };
      this.pictures = new Map();
      this.table = article.querySelector("table");
      this.body = this.table.tBodies[0];
      this.frame = this.table.parentElement;
      this.counted = article.querySelector(".counted");
      this.file = this.counted.querySelector("code").cloneNode(true);
      this.region = this.data.columns.indexOf("Region");
      this.error = this.data.columns.indexOf("Main error");
      this.sought = this.data.rows.map((row) => row.filter((cell) => typeof cell === "string").join("\n").toLowerCase());
      this.order = this.data.rows.map((_, index) => index);
      this.heads = [...this.table.tHead.rows[0].cells];
      this.heads.forEach((head, column) => {
        const button = document.createElement("button");
        button.type = "button";
        button.textContent = head.textContent;
        head.replaceChildren(button);
        button.addEventListener("click", () => this.sort(column));
      });
      this.frame.addEventListener("scroll", () => {
        if (this.frame.scrollTop + this.frame.clientHeight > this.frame.scrollHeight - 400) this.extend();
      });
    }

    sort(column) {
      const head = this.heads[column];
      const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      this.heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      const { rows, decimals } = this.data;
      const compare = new Intl.Collator("en", { numeric: true }).compare;
      this.order.sort((a, b) => {
        if (decimals[column] === null) return sign * compare(rows[a][column], rows[b][column]) || a - b;
        const [x, y] = [rank(rows[a][column]), rank(rows[b][column])];
        if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y) || a - b; // undefined values last, either way
        return x === y ? a - b : sign * (x < y ? -1 : 1);
      });
      this.show();
    }

    // Whether a case has a level of a covariate, both told as JSON.
    hasLevel(name, wanted) {
      const [covariate, level] = JSON.parse(wanted);
      return this.levels[covariate]?.[this.place.get(name)] === level;
    }

    filter({ set, region, error, covariate, alarm, text }) {
      this.article.hidden = set !== ALL && set !== this.article.dataset.set;
      const words = text.toLowerCase().split(/\s+/).filter(Boolean);
      this.keeps = (index) => {
        const row = this.data.rows[index];
        if (region !== ALL && row[this.region] !== region) return false;
        if (error !== ALL && row[this.error] !== error) return false;
        if (covariate !== ALL && !this.hasLevel(row[0], covariate)) return false;
        if (alarm !== ALL && String(this.more.alarms[row[this.region]]?.[this.place.get(row[0])]) !== alarm) return false;
        return words.every((word) => this.sought[index].includes(word));
      };
      this.show();
    }

    show() {
      this.shown = this.order.filter((index) => this.keeps(index));
      this.body.replaceChildren();
      this.frame.scrollTop = 0;
      this.extend();
      const all = this.data.rows.length;
      const words = this.shown.length === all ? `${all} rows` : `${this.shown.length} of ${all} rows`;
      this.counted.replaceChildren(`${words}, with full precision in `, this.file, ".");
    }

    extend() {
      const from = this.body.rows.length;
      const added = this.shown.slice(from, from + STEP).map((index, place) => {
        const before = this.shown[from + place - 1];
        const cells = this.data.rows[index];
        return this.row(cells, before === undefined || this.data.rows[before][0] !== cells[0]);
      });
      this.body.append(...added);
    }

    // A small copy of a case's picture, made once when it is first in sight; cases without a picture have none.
    addPicture(link, anchor) {
      const whole = document.getElementById(anchor)?.querySelector(":scope > img");
      if (!whole) return;
      const small = new Image(84, 52);
      small.alt = "";
      small.className = "thumbnail";
      link.prepend(small);
      if (!this.pictures.has(anchor)) {
        const source = new Image();
        source.src = whole.src;
        const made = source.decode().then(() => {
          const canvas = Object.assign(document.createElement("canvas"), { width: 168, height: 104 });
          canvas.getContext("2d").drawImage(source, 0, 0, 168, 104);
          return canvas.toDataURL("image/jpeg", 0.8);
        });
        this.pictures.set(anchor, made);
      }
      this.pictures.get(anchor).then((address) => (small.src = address), () => small.remove());
    }

    row(cells, first) {
      const line = document.createElement("tr");
      cells.forEach((cell, column) => {
        const item = document.createElement(column ? "td" : "th");
        const decimals = this.data.decimals[column];
        const text = typeof cell === "number" ? numbered(cell, decimals) : cell;
        if (!column) item.scope = "row";
        if (decimals !== null) item.className = "number";
        else if (text.length > 40) item.className = "long";
        const anchor = column ? undefined : this.data.links[cell];
        if (anchor) {
          const link = document.createElement("a");
          link.href = `#${anchor}`;
          link.textContent = text;
          item.append(link);
          if (first) this.addPicture(link, anchor);
        } else {
          item.textContent = text;
        }
        line.append(item);
      });
      return line;
    }
  }

  const tables = [...document.querySelectorAll("article.cases")].map((article) => new CaseTable(article));
  const place = document.getElementById("case-filters");
  if (place && tables.length) {
    const form = document.createElement("form");
    form.className = "filters";
    form.addEventListener("submit", (event) => event.preventDefault());
    const labelled = (name, field) => {
      const label = document.createElement("label");
      label.append(name, " ", field);
      field.name = name.toLowerCase().replace(/\s/g, "-");
      form.append(label);
      return field;
    };
    const choice = (name, values) => {
      const field = document.createElement("select");
      field.append(new Option("all", ALL), ...[...new Set(values)].filter(Boolean).map((value) => new Option(value, value)));
      return field.length > 2 || name !== "Set" ? labelled(name, field) : field;
    };
    const grouped = (name, all) => {
      const field = document.createElement("select");
      field.append(new Option("all", ALL));
      for (const covariate of [...new Set(all.flatMap(Object.keys))].sort()) {
        const group = Object.assign(document.createElement("optgroup"), { label: covariate });
        const levels = [...new Set(all.flatMap((each) => each[covariate] ?? []))].filter((level) => level !== null);
        levels.sort(new Intl.Collator("en", { numeric: true }).compare);
        group.append(...levels.map((level) => new Option(`${covariate}: ${level}`, JSON.stringify([covariate, level]))));
        field.append(group);
      }
      return field.length > 1 ? labelled(name, field) : field;
    };
    const alarms = () => {
      const field = document.createElement("select");
      field.append(new Option("all", ALL), new Option("with an alarm", "true"), new Option("without", "false"));
      return tables.some((table) => Object.keys(table.more.alarms).length) ? labelled("Quality", field) : field;
    };
    const column = (name) => tables.flatMap((table) => table[name] < 0 ? [] : table.data.rows.map((row) => row[table[name]]));
    const fields = {
      set: choice("Set", tables.map((table) => table.article.dataset.set)),
      region: choice("Region", column("region")),
      error: choice("Main error", column("error").sort()),
      covariate: grouped("Covariate", tables.map((table) => table.levels)),
      alarm: alarms(),
      text: labelled("Find", Object.assign(document.createElement("input"), { type: "search", placeholder: "case, note, …" })),
    };
    const act = () => {
      const wanted = Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, field.value]));
      tables.forEach((table) => table.filter(wanted));
    };
    form.addEventListener("input", act);
    place.append(form);
    act();
  }

  // A link to a case opens all of it.
  const open = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    target?.querySelector(":scope.case > figcaption > details")?.setAttribute("open", "");
    if (target?.matches(".case")) target.scrollIntoView();
  };
  addEventListener("hashchange", open);
  open();
}
