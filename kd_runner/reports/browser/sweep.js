"use strict";
// The interactive part of the page of a large sweep. All texts come from runs, and may be anyone's: they become text
// nodes, and words on a canvas, never HTML.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const find = (selector, within = document) => within.querySelector(selector);
  const texts = (column) => (column.codes ? column.codes.map((code) => column.values[code]) : column.values);
  const element = (name, text = "", attributes = {}) => {
    const made = document.createElement(name);
    made.textContent = text;
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const NUMBER = /^[+\u2212-]?[\d,]*\.?\d+(?:e[+-]?\d+)?/i;
  const number = (text) => {
    const found = NUMBER.exec(text);
    return found ? Number(found[0].replaceAll(",", "").replace("\u2212", "-")) : NaN;
  };
  const isNumber = (text) => text.trim() !== "" && !Number.isNaN(Number(text));
  const compareTexts = new Intl.Collator(undefined, { numeric: true }).compare;

  // Columns of rows: the rank, the settings in which the rows differ, and the others of the leaderboard. A few settings
  // stand in columns of their own in place of one of all words.
  const few = data.settings.length > 0 && data.settings.length <= 6;
  const first = innerWidth < 700 ? ["rank", "val_accuracy", "test_accuracy"] : ["rank"]; // on a phone
  const columns = [
    ...data.columns.filter((column) => first.includes(column.key)),
    ...data.settings.map((column) => ({ ...column, key: "", setting: true, hidden: !few })),
    ...data.columns.filter((column) => !first.includes(column.key)).map((column) => (column.key === "settings" ? { ...column, hidden: few } : column)),
  ];
  columns.forEach((column, index) => {
    column.field = `c${index}`;
    column.texts = texts(column);
    const known = column.setting ? [...new Set(column.texts)].filter((text) => text !== "") : [];
    column.numeric = column.setting ? known.every(isNumber) : !column.text;
    column.sorted = column.numeric ? column.texts.map(column.setting ? (text) => (text === "" ? NaN : Number(text)) : number) : column.texts;
  });
  const sizeOf = { parameters: "parameters", latency: "one image, ms" };
  for (const column of columns.filter((each) => !each.setting && !each.drawn && !each.text)) {
    const source = columns.find((each) => each.drawn && each.title === sizeOf[column.key]);
    if (source) column.sorted = source.sorted;
  }
  const byKey = (key) => columns.find((column) => column.key === key);
  const count = columns.length ? columns[0].texts.length : 0;
  const names = byKey("settings")?.texts ?? [];
  const haystack = Array.from({ length: count }, (_, row) =>
    columns.filter((column) => column.text).map((column) => column.texts[row]).join(" ").toLowerCase());
  const chooseBy = byKey(data.split === "validation" ? "val_accuracy" : "test_accuracy");

  // State: the rows that the search leaves, in their rank, and those that are chosen.
  let shown = Array.from({ length: count }, (_, row) => row);
  let chosen = [];
  const drawings = [];
  const redraw = () => drawings.forEach((drawing) => drawing.update());

  const sorter = (field) => (a, b, one, other, column, direction) => {
    if (typeof a === "string") {
      if (a === "" || b === "") return ((a === "") - (b === "")) * (direction === "asc" ? 1 : -1);
      return compareTexts(a, b);
    }
    if (a !== a || b !== b) return ((a !== a) - (b !== b)) * (direction === "asc" ? 1 : -1); // unknown ones last
    return a - b;
  };
  const plain = (text) => {
    const cell = element("span", text);
    if (text.length > 24) cell.title = text;
    return cell;
  };
  const titled = (cell) => { // a long key breaks at its dots
    const title = element("span");
    cell.getValue().split(/(?<=\.)/).forEach((part, index) => title.append(...(index ? [element("wbr")] : []), part));
    return title;
  };

  const matcher = (typed) => {
    const words = typed.toLowerCase().split(/\s+/).filter((word) => word && word !== "-");
    const wanted = words.filter((word) => !word.startsWith("-"));
    const refused = words.filter((word) => word.startsWith("-")).map((word) => word.slice(1));
    return (text) => wanted.every((word) => text.includes(word)) && !refused.some((word) => text.includes(word));
  };
  const later = (act) => {
    let waiting = 0;
    return () => { clearTimeout(waiting); waiting = setTimeout(act, 150); };
  };
  const options = {
    height: "34rem", layout: "fitData", rowHeight: 32, placeholder: "No such row", index: "id",
    columnDefaults: { resizable: "header", titleFormatter: titled, headerSortStartingDir: "desc" },
  };

  function makeTable() {
    const rows = Array.from({ length: count }, (_, id) => {
      const row = { id };
      for (const column of columns) row[column.field] = column.sorted[id];
      return row;
    });
    const table = new tabulator.Tabulator(find("#table"), {
      ...options,
      data: rows,
      selectableRows: 8,
      columns: columns.map((column) => ({
        title: column.title, field: column.field, visible: !column.hidden, sorter: sorter(column.field),
        hozAlign: column.numeric ? "right" : "left", headerHozAlign: column.numeric ? "right" : "left",
        frozen: column.key === "rank", ...(column.key === "rank" ? { headerSortStartingDir: "asc" } : {}),
        ...(column.text ? { width: Math.min(360, 0.5 * innerWidth), headerSortStartingDir: "asc" } : {}),
        ...(column.key !== "rank" && !column.text ? { maxInitialWidth: 170, minWidth: 60 } : {}),
        ...(column.setting ? { headerSortStartingDir: "asc" } : {}),
        formatter: (cell) => plain(column.texts[cell.getRow().getData().id]),
      })),
    });
    const search = find("#words");
    const say = () => {
      find("#count").textContent = shown.length === count
        ? `${count.toLocaleString("en")} rows` : `${shown.length.toLocaleString("en")} of ${count.toLocaleString("en")} rows`;
    };
    search.addEventListener("input", later(() => {
      const matches = matcher(search.value);
      const left = new Set();
      haystack.forEach((text, row) => { if (matches(text)) left.add(row); });
      shown = [...left];
      if (shown.length === count) table.clearFilter(true);
      else table.setFilter((row) => left.has(row.id));
      say();
      redraw();
    }));
    table.on("rowSelectionChanged", (rows_) => {
      chosen = rows_.map((row) => row.id);
      find("#compare").disabled = chosen.length < 2;
      find("#unselect").disabled = !chosen.length;
      if (!find("#compared").hidden) compare();
      redraw();
    });
    find("#compare").addEventListener("click", () => { compare(); find("#compared").scrollIntoView({ block: "nearest" }); });
    find("#unselect").addEventListener("click", () => table.deselectRow());
    for (const column of columns) {
      const label = element("label"), box = element("input", "", { type: "checkbox" });
      box.checked = !column.hidden;
      box.addEventListener("change", () => (box.checked ? table.showColumn(column.field) : table.hideColumn(column.field)));
      label.append(box, ` ${column.title}`);
      find("#choices").append(label);
    }
    say();
    return table;
  }

  function compare() {
    const place = find("#compared");
    place.replaceChildren();
    place.hidden = chosen.length < 2;
    if (place.hidden) return;
    const table = element("table"), head = element("tr");
    head.append(element("th", "", { class: "text" }), ...chosen.map((row) => element("th", columns[0].texts[row], { scope: "col" })));
    table.append(element("thead"), element("tbody"));
    table.tHead.append(head);
    for (const column of columns.filter((each) => each.key !== "rank" && !(few && each.key === "settings"))) {
      const cells = chosen.map((row) => column.texts[row]);
      if (cells.every((text) => text === "")) continue;
      const line = element("tr", "", cells.every((text) => text === cells[0]) ? {} : { class: "differs" });
      line.append(element("th", column.title, { scope: "row", class: "text" }), ...cells.map((text) => element("td", text)));
      table.tBodies[0].append(line);
    }
    place.append(element("h3", "Side by side"), table);
  }

  // All runs, in a table that is made when it is asked for.
  const runs = Object.fromEntries(Object.entries(data.runs).map(([name, column]) =>
    [name, Array.isArray(column) || !column.values ? column : texts(column)]));
  const percent = (value) => (value === null || value === undefined ? "" : (value / 100).toFixed(2));
  const signed = (value) => (value === null ? "" : `${value < 0 ? "-" : "+"}${(Math.abs(value) / 100).toFixed(2)}`);
  function makeRuns() {
    const about = (id) => (runs.row[id] < 0 ? runs.words[id] : names[runs.row[id]]);
    const link = (id, file, text) => {
      if (!file) return element("span", text);
      return element("a", text, { href: `${runs.hrefs[id] ?? runs.folder[id]}/${file}` });
    };
    const idOf = (cell) => cell.getRow().getData().id;
    const rows = runs.row.map((row, id) => ({
      id, rank: row < 0 ? NaN : row + 1, settings: about(id), seed: runs.seed[id], status: runs.status[id],
      teacher: runs.teacher[id] ?? NaN, baseline: runs.baseline[id] ?? NaN, student: runs.student[id] ?? NaN,
      gain: runs.gain[id] ?? NaN, folder: runs.folder[id], log: runs.log[id],
    }));
    const words = rows.map((row) => `${row.settings} seed=${row.seed} ${row.status} ${row.folder}`.toLowerCase());
    const column = (title, field, formatter, more = {}) => ({ title, field, formatter, sorter: sorter(field), ...more });
    const right = { hozAlign: "right", headerHozAlign: "right" }, up = { headerSortStartingDir: "asc" };
    const table = new tabulator.Tabulator(find("#runs-table"), {
      ...options,
      data: rows,
      columns: [
        column("#", "rank", (cell) => plain(runs.row[idOf(cell)] < 0 ? "" : String(cell.getValue())), { ...right, ...up }),
        column("settings", "settings", (cell) => plain(cell.getValue()), { width: Math.min(360, 0.5 * innerWidth), ...up }),
        column("seed", "seed", (cell) => plain(cell.getValue()), { ...right, ...up }),
        column("status", "status", (cell) => plain(cell.getValue()), { width: 150, ...up }),
        ...["teacher", "baseline", "student"].map((stage) =>
          column(`${stage}, %`, stage, (cell) => plain(percent(runs[stage][idOf(cell)])), right)),
        column("gain, points", "gain", (cell) => plain(signed(runs.gain[idOf(cell)])), right),
        column("folder", "folder", (cell) => link(idOf(cell), runs.page[idOf(cell)] ? "report.html" : "", cell.getValue()), up),
        column("log", "log", (cell) => link(idOf(cell), cell.getValue(), cell.getValue()), up),
      ],
    });
    const search = find("#runs-words"), say = (left) => {
      find("#runs-count").textContent = `${left.toLocaleString("en")} of ${rows.length.toLocaleString("en")} runs`;
    };
    search.addEventListener("input", later(() => {
      const matches = matcher(search.value);
      const left = new Set(words.flatMap((text, id) => (matches(text) ? [id] : [])));
      table.setFilter((row) => left.has(row.id));
      say(left.size);
    }));
    say(rows.length);
  }

  // Pictures, each drawn when it comes into view, and again when the search, the choice or the colours change.
  const colour = (name, opacity = 1) => `rgba(${getComputedStyle(document.documentElement).getPropertyValue(`--${name}`)},${opacity})`;
  const word = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const LINES = ["#2f7ed8", "#d9662c", "#2e9e6b", "#a154c9", "#c9a227", "#d3468a", "#3bb0c4", "#8a8f98"];
  const tip = (lines) => {
    const made = element("div", "", { class: "tip" });
    lines.forEach((line) => made.append(element("div", line)));
    return made;
  };
  const WHEEL = { type: "inside", zoomOnMouseWheel: "ctrl" }; // alone, it scrolls the page
  const axis = (name, more = {}) => ({
    name, nameLocation: "middle", nameGap: 28, scale: true, axisLabel: { color: word("soft"), hideOverlap: true },
    nameTextStyle: { color: word("soft") }, splitLine: { lineStyle: { color: word("line") } },
    axisLine: { lineStyle: { color: word("line") } }, ...more,
  });
  const shares = () => axis("", { max: ({ max }) => (max > 97 ? 100 : null) }); // in percent
  const family = () => getComputedStyle(document.body).fontFamily; // a canvas does not inherit it
  const base = () => ({
    animation: false, textStyle: { fontFamily: family(), color: word("ink") },
    grid: { left: 52, right: 24, top: 16, bottom: 44 },
    tooltip: { confine: true, backgroundColor: word("card"), borderColor: word("line"), textStyle: { color: word("ink") } },
  });
  function drawing(id, option, prepare = () => {}, fits = false) { // fits: the option depends on the width
    const place = find(`#picture-${id}`);
    if (!place) return null;
    const made = {
      place, chart: null, seen: false,
      update() {
        if (!made.seen) return;
        made.width = place.clientWidth;
        made.chart ??= echarts.init(find(".drawing", place), null, { renderer: "canvas" });
        made.chart.setOption(option(made), { notMerge: true });
      },
    };
    new IntersectionObserver((entries) => {
      if (made.seen || !entries.some((entry) => entry.isIntersecting)) return;
      made.seen = true;
      made.update();
      prepare(made);
    }, { rootMargin: "200px" }).observe(place);
    new ResizeObserver(() => {
      made.chart?.resize();
      if (made.chart && fits && made.width !== place.clientWidth) made.update();
    }).observe(find(".drawing", place));
    drawings.push(made);
    return made;
  }
  const label = (row) => `${row + 1}: ${names[row]}`;

  // Names above upright axes that are `space` pixels apart, whole: broken where a key has a dot or a bar, and upright
  // themselves where that is not narrow enough.
  const SIZE = 12, LINE = 14, MOST_LETTERS = 40; // letters of a name, which may be anyone's
  const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}\u2026` : text);
  function headings(titles, space) {
    const pen = document.createElement("canvas").getContext("2d");
    pen.font = `${SIZE}px ${family()}`;
    const width = (text) => pen.measureText(text).width;
    const whole = titles.map((title) => cut(title, MOST_LETTERS));
    const pieces = (title, most) => { // at bars only where the parts between dots are too long
      const parts = title.split(/(?<=[. ])/);
      return longest(parts) <= most ? parts : title.split(/(?<=[._ ])/);
    };
    const longest = (lines) => Math.max(...lines.map(width));
    const broken = (title, most) => pieces(title, most).reduce((lines, piece) => {
      if (lines.length && width(lines.at(-1) + piece) <= most) lines.push(lines.pop() + piece);
      else lines.push(piece);
      return lines;
    }, []);
    const lying = whole.map((title) => broken(title, space - 10));
    const rotate = lying.some((lines) => longest(lines) > space - 10) ? 90 : 0;
    const most = Math.max(1, Math.floor((space - 4) / LINE)); // lines that have room beside each other
    const standing = (title) => {
      let length = longest(title.split(/(?<=[. ])/));
      while (broken(title, length).length > most) length += SIZE / 2;
      return broken(title, length);
    };
    const lines = rotate ? whole.map(standing) : lying;
    const half = (at) => (rotate ? 0 : longest(lines.at(at)) / 2 + 4);
    const height = rotate ? Math.max(...lines.map(longest)) : LINE * Math.max(...lines.map((each) => each.length));
    return { names: lines.map((each) => each.map((line) => line.trim()).join("\n")), rotate, height,
      left: Math.max(40, half(0)), right: Math.max(60, half(-1)) };
  }

  function drawRuns() {
    const stages = [["teacher", 3, "rect"], ["baseline", 5, "emptyCircle"], ["student", 5, "circle"]];
    drawing("runs", () => {
      const left = new Set(shown);
      const points = (stage) => runs.row.flatMap((row, id) =>
        (row >= 0 && left.has(row) && runs[stage][id] !== null ? [[row + 1, runs[stage][id] / 100, id]] : []));
      return {
        ...base(),
        xAxis: axis("row", { min: "dataMin", max: "dataMax", minInterval: 1 }), yAxis: shares(),
        dataZoom: [WHEEL],
        series: stages.map(([stage, symbolSize, symbol]) => ({
          name: stage, type: "scatter", symbol, symbolSize, data: points(stage), progressive: 4000, progressiveThreshold: 6000,
          itemStyle: { color: colour(stage, stage === "student" ? 0.7 : 0.45) },
        })),
        tooltip: { ...base().tooltip, formatter: ({ seriesName, value: [row, accuracy, id] }) =>
          tip([label(row - 1), `seed ${runs.seed[id]}: ${seriesName} ${accuracy.toFixed(2)} %`]) },
      };
    }, (made) => made.chart.on("click", ({ value }) => table.toggleSelectRow(value[0] - 1)));
  }

  function drawCost() {
    const choices = columns.filter((column) => !column.setting && column.drawn && ["parameters", "macs", "seconds", "times_baseline",
      "latency", "images_seen"].includes(column.key) && new Set(column.sorted).size > 1);
    const place = find("#picture-cost");
    if (!choices.length || !chooseBy) { place.remove(); return; }
    const select = find("select", place);
    choices.forEach((column, index) => select.append(element("option", column.title, { value: index })));
    const made = drawing("cost", () => {
      const cost = choices[select.value];
      const points = shown.filter((row) => cost.sorted[row] > 0 && chooseBy.sorted[row] === chooseBy.sorted[row])
        .map((row) => [cost.sorted[row], chooseBy.sorted[row], row]).sort((a, b) => a[0] - b[0] || b[1] - a[1]);
      let best = -Infinity;
      const front = points.filter((point) => point[1] > best && (best = point[1], true));
      const wide = points.length && points.at(-1)[0] / points[0][0] > 20;
      return {
        ...base(),
        xAxis: axis(cost.title, { type: wide ? "log" : "value" }), yAxis: shares(),
        dataZoom: [WHEEL],
        series: [
          { type: "scatter", symbolSize: 6, data: points, itemStyle: { color: colour("teacher", 0.6) } },
          { type: "line", symbolSize: 9, data: front, itemStyle: { color: colour("student") }, lineStyle: { color: colour("student") } },
        ],
        tooltip: { ...base().tooltip, formatter: ({ value: [, , row] }) =>
          tip([label(row), `${chooseBy.title}: ${chooseBy.texts[row]}`, `${cost.title}: ${cost.texts[row]}`]) },
      };
    }, (drawn) => drawn.chart.on("click", ({ value }) => table.toggleSelectRow(value[2])));
    select.addEventListener("change", () => made.update());
  }

  const MOST_LINES = 2000;
  function drawParallel() {
    const settings = columns.filter((column) => column.setting && new Set(column.texts).size > 1).slice(0, 12);
    if (!settings.length || !chooseBy) { find("#picture-parallel").remove(); return; }
    drawing("parallel", (made) => {
      const rows = shown.filter((row) => chooseBy.sorted[row] === chooseBy.sorted[row]).slice(0, MOST_LINES).reverse();
      const values = rows.map((row) => chooseBy.sorted[row]);
      const used = settings.filter((column) => new Set(rows.map((row) => column.texts[row])).size > 1);
      const categories = used.map((column) => {
        const unique = [...new Set(rows.map((row) => column.texts[row]))];
        return column.numeric && unique.length > 24 && !unique.includes("") ? null
          : unique.sort(column.numeric ? (a, b) => Number(a) - Number(b) : compareTexts);
      });
      const ranked = [...values].sort((a, b) => a - b), thin = Math.min(1, 12 / Math.sqrt(rows.length));
      const space = (made.place.clientWidth - 100) / Math.max(1, used.length);
      const heads = headings([...used.map((column) => column.title), chooseBy.title], space);
      const shortest = Math.min(24, Math.max(8, Math.floor(space / 7) - 2));
      const named = (dim) => ({ name: heads.names[dim], nameRotate: heads.rotate, nameGap: 14, nameTextStyle: {
        color: word("soft"), fontSize: SIZE, lineHeight: LINE, ...(heads.rotate ? { align: "left", verticalAlign: "middle" } : {}) } });
      const look = { axisLabel: { color: word("ink"), backgroundColor: word("page"), padding: [1, 3], borderRadius: 3, formatter: (text) => cut(String(text), shortest) }, axisLine: { lineStyle: { color: word("soft") } } };
      return {
        ...base(),
        tooltip: { show: false },
        parallel: { left: heads.left, right: heads.right, top: heads.height + 20, bottom: 20 },
        parallelAxis: [
          ...used.map((column, dim) => ({ dim, ...named(dim), ...look,
            ...(categories[dim] ? { type: "category", data: categories[dim] } : { type: "value", scale: true }) })),
          { dim: used.length, ...named(used.length), ...look, type: "value", scale: true },
        ],
        visualMap: { show: false, dimension: used.length, min: ranked[ranked.length >> 1] ?? 0, max: ranked.at(-1) ?? 1,
          inRange: { color: [colour("teacher", 0.3 * thin), colour("teacher", 0.5 * thin), colour("student", 0.9)] },
          outOfRange: { color: [colour("teacher", 0.3 * thin)] } },
        series: [{ type: "parallel", lineStyle: { width: 1 }, progressive: 400, inactiveOpacity: 0.02, activeOpacity: 1,
          data: rows.map((row) => [...used.map((column, dim) => (categories[dim] ? column.texts[row] : column.sorted[row])), chooseBy.sorted[row]]) }],
      };
    }, undefined, true);
  }

  function drawHeat() {
    const settings = columns.filter((column) => column.setting && new Set(column.texts.filter((text) => text)).size > 1)
      .sort((a, b) => new Set(b.texts).size - new Set(a.texts).size);
    const place = find("#picture-heat");
    if (settings.length < 2 || !chooseBy) { place.remove(); return; }
    const [down, across] = place.querySelectorAll("select");
    for (const select of [down, across]) settings.forEach((column, index) => select.append(element("option", column.title, { value: index })));
    across.value = "1";
    const made = drawing("heat", () => {
      const [one, other] = [settings[down.value], settings[across.value]];
      const sorted = (column) => [...new Set(shown.map((row) => column.texts[row]).filter((text) => text !== ""))]
        .sort(column.numeric ? (a, b) => Number(a) - Number(b) : compareTexts).slice(0, 60);
      const [rows, cols] = [sorted(one), sorted(other)];
      const cells = new Map();
      for (const row of shown) {
        const key = `${cols.indexOf(other.texts[row])} ${rows.indexOf(one.texts[row])}`, value = chooseBy.sorted[row];
        if (key.includes("-") || value !== value) continue;
        const [sum, many] = cells.get(key) ?? [0, 0];
        cells.set(key, [sum + value, many + 1]);
      }
      const points = [...cells].map(([key, [sum, many]]) => [...key.split(" ").map(Number), sum / many, many]);
      const means = points.map((point) => point[2]);
      const space = { splitLine: { show: false }, axisLabel: { color: word("ink"), width: 110, overflow: "truncate" } };
      return {
        ...base(),
        grid: { left: 120, right: 24, top: 16, bottom: 60 },
        xAxis: { ...axis(other.title), type: "category", data: cols, ...space }, yAxis: { ...axis(""), type: "category", data: rows, ...space },
        visualMap: { show: false, dimension: 2, min: Math.min(...means), max: Math.max(...means),
          inRange: { color: [colour("student", 0.04), colour("student", 0.7)] } },
        series: [{ type: "heatmap", data: points, label: { show: points.length <= 120, color: word("ink"), formatter: ({ value }) => value[2].toFixed(2) } }],
        tooltip: { ...base().tooltip, formatter: ({ value: [x, y, mean, many] }) =>
          tip([`${one.title}=${rows[y]} ${other.title}=${cols[x]}`, `${chooseBy.title}: ${mean.toFixed(2)}, ${many} rows`]) },
      };
    });
    [down, across].forEach((select) => select.addEventListener("change", () => made.update()));
  }

  function drawCurves() {
    const curves = data.curves;
    if (!curves) return;
    find("#picture-curves").hidden = false;
    const numbers = (text) => {
      const raw = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
      const view = new DataView(raw.buffer);
      return (row, epoch) => {
        const value = text ? view.getUint16(2 * (row * curves.epochs.length + epoch), true) : 65535;
        return value === 65535 ? null : (100 * value) / 65534;
      };
    };
    const [mean, spread, runs] = [numbers(curves.mean), numbers(curves.spread), texts(curves.runs)];
    drawing("curves", (made) => {
      const rows = (chosen.length ? chosen : shown.slice(0, 5)).filter((row) => row < curves.rows).slice(0, 8);
      const list = find(".legend", made.place);
      list.replaceChildren();
      const series = rows.flatMap((row, index) => {
        const item = element("li"), swatch = element("span", "", { class: "swatch" });
        swatch.style.background = LINES[index];
        item.append(swatch, `${label(row)} (${runs[row] || "no"} ${runs[row] === 1 ? "run" : "runs"})`);
        list.append(item);
        const points = curves.epochs.map((epoch, at) => [epoch, mean(row, at), spread(row, at)]);
        const stack = `band ${row}`, quiet = { type: "line", symbol: "none", silent: true, stack, lineStyle: { opacity: 0 }, stackStrategy: "all" };
        return [
          { name: String(row), type: "line", symbol: "none", data: points.map(([x, y]) => [x, y]), lineStyle: { color: LINES[index], width: 2 }, itemStyle: { color: LINES[index] } },
          { ...quiet, data: points.map(([x, y, s]) => [x, y === null || s === null ? null : y - s]) },
          { ...quiet, data: points.map(([x, y, s]) => [x, y === null || s === null ? null : 2 * s]), areaStyle: { color: LINES[index], opacity: 0.15 } },
        ];
      });
      return {
        ...base(),
        xAxis: axis("epoch", { min: 1, max: curves.epochs.at(-1), minInterval: 1 }), yAxis: shares(),
        dataZoom: [WHEEL],
        series,
        tooltip: { ...base().tooltip, trigger: "axis", formatter: (points) => tip([`epoch ${points[0]?.value[0]}`,
          ...points.filter((point) => point.seriesName && !point.seriesName.startsWith("series") && point.value[1] !== null)
            .map((point) => `${label(Number(point.seriesName)).slice(0, 80)}: ${point.value[1].toFixed(2)} %`)]) },
      };
    });
  }

  let table = null;
  try {
    if (!count) return;
    document.body.classList.add("live");
    table = makeTable();
    for (const stage of ["student", "baseline", "teacher"]) {
      document.querySelectorAll(`.swatch.${stage}`).forEach((swatch) => { swatch.style.background = `rgb(var(--${stage}))`; });
    }
    [drawCurves, drawRuns, drawCost, drawParallel, drawHeat].forEach((draw) => draw());
    const details = find("#all-runs");
    details?.addEventListener("toggle", () => { if (details.open && !details.dataset.made) { details.dataset.made = "yes"; makeRuns(); } });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  } catch (error) {
    document.body.classList.remove("live"); // the tables and pictures that need no script stay
    throw error;
  }
})();
