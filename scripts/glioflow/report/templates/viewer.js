// Turns a case: its volumes, from a script beside the page, in NiiVue. Nothing is fetched, so that it works from disk. Without it,
// without WebGL or without the folder "viewer" beside the page, the pictures stay.
{
  const HEADER = 352; // bytes of a NIfTI-1 header with its extension mark
  const LABELS = ["none", "NCR", "ED", "ET", "RC"]; // canonical labels; the voxel's code is truth + 5 × prediction + 64 in the brain
  const SIDE = 5, BRAIN = 64;
  // The colours of the pictures: truth, prediction, both; and of each kind of error that of the charts.
  const OUTLINES = { R: [0, 53, 255, 255], G: [0, 208, 159, 255], B: [0, 255, 31, 255], A: [0, 255, 255, 255], I: [0, 1, 2, 3] };
  // Uncertainty is violet, which is none of theirs and darker, so that outlines stay in sight on it.
  const UNCERTAINTY = { R: [90, 230], G: [0, 60], B: [170, 255], A: [0, 255], I: [0, 255] };
  const load = (source) =>
    new Promise((done, fail) => {
      const script = document.createElement("script");
      script.src = source;
      script.onload = () => done(script.remove());
      script.onerror = () => fail(new Error(`${source} is missing: the page and its folder "viewer" belong together`));
      document.head.append(script);
    });

  // The voxels of a volume from its slices, which stand side by side in a picture.
  const decode = async (address, [width, height, depth], columns) => {
    const image = new Image();
    image.src = address;
    await image.decode();
    const canvas = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    const voxels = new Uint8Array(width * height * depth);
    for (let z = 0, at = 0; z < depth; z++) {
      const tile = context.getImageData((z % columns) * width, Math.floor(z / columns) * height, width, height).data;
      for (let pixel = 0; pixel < width * height; pixel++) voxels[at++] = tile[4 * pixel];
    }
    return voxels;
  };

  const nifti = (voxels, shape, affine, slope = 1, inter = 0) => {
    const buffer = new ArrayBuffer(HEADER + voxels.length);
    const view = new DataView(buffer);
    view.setInt32(0, 348, true);
    [3, ...shape, 1, 1, 1, 1].forEach((size, place) => view.setInt16(40 + 2 * place, size, true));
    view.setInt16(70, 2, true); // unsigned bytes
    view.setInt16(72, 8, true);
    const edges = [0, 1, 2].map((axis) => Math.hypot(...affine.map((row) => row[axis])));
    [1, ...edges].forEach((edge, place) => view.setFloat32(76 + 4 * place, edge, true));
    view.setFloat32(108, HEADER, true);
    view.setFloat32(112, slope, true);
    view.setFloat32(116, inter, true);
    view.setUint8(123, 2); // mm
    view.setInt16(254, 1, true); // the place is told by the three rows that follow
    affine.flat().forEach((value, place) => view.setFloat32(280 + 4 * place, value, true));
    [0x6e, 0x2b, 0x31, 0].forEach((byte, place) => view.setUint8(344 + place, byte));
    new Uint8Array(buffer, HEADER).set(voxels);
    return buffer;
  };

  // The voxels of a mask that have a face neighbour outside it.
  const surface = (inside, [width, height, depth]) => {
    const found = new Uint8Array(inside.length);
    const steps = [1, width, width * height];
    for (let z = 0, at = 0; z < depth; z++)
      for (let y = 0; y < height; y++)
        for (let x = 0; x < width; x++, at++) {
          if (!inside[at]) continue;
          const edge = !x || !y || !z || x === width - 1 || y === height - 1 || z === depth - 1;
          found[at] = edge || steps.some((step) => !inside[at - step] || !inside[at + step]) ? 1 : 0;
        }
    return found;
  };

  class Viewer {
    constructor(place, data, kinds) {
      this.place = place;
      this.data = data;
      this.kinds = kinds; // names and colours of the kinds of errors
      this.ends = 0;
      this.layers = {}; // places of the volumes above the channel, by name
    }

    async start() {
      const { data } = this;
      const { shape, columns, affine } = data;
      this.codes = await decode(data.labels, shape, columns);
      this.region = Object.keys(data.regions)[0];
      this.build();
      const nv = new niivue.Niivue({ backColor: [0, 0, 0, 1], show3Dcrosshair: true, crosshairColor: [1, 0.2, 0.2, 0.8], crosshairWidth: 0.5, crosshairGap: 8, loadingText: "", dragAndDropEnabled: false, logLevel: "error" });
      await nv.attachToCanvas(this.canvas, false);
      this.nv = nv;
      nv.onLocationChange = (location) => this.tell(location);
      const role = Object.keys(data.channels).find((name) => name === "flair") ?? Object.keys(data.channels)[0];
      await this.channel(role);
      if (data.uncertainty) await this.uncertain();
      const layer = async (name) => {
        await nv.loadFromArrayBuffer(nifti(new Uint8Array(this.codes.length), shape, affine), `${name}.nii`);
        this.layers[name] = nv.volumes.length - 1;
        return nv.volumes.at(-1);
      };
      (await layer("outlines")).setColormapLabel(OUTLINES);
      const channel = (place) => [0, ...this.kinds.map(({ colour }) => parseInt(colour.slice(place, place + 2), 16))];
      const errors = { R: channel(1), G: channel(3), B: channel(5), A: [0, ...this.kinds.map(() => 255)], I: [...Array(9).keys()] };
      (await layer("errors")).setColormapLabel(errors);
      nv.setRadiologicalConvention(true);
      nv.setSliceType(nv.sliceTypeMultiplanar);
      this.fields.channel.value = role;
      await this.outline();
      this.opacities();
      this.goTo("witness") || this.goTo("false") || this.goTo("missed");
    }

    build() {
      const bar = document.createElement("div");
      bar.className = "viewer-bar";
      const labelled = (name, field) => {
        const label = document.createElement("label");
        label.append(`${name} `, field);
        bar.append(label);
        return field;
      };
      const choice = (name, values, act) => {
        const field = document.createElement("select");
        field.append(...values.map(([value, text]) => new Option(text, value)));
        field.name = name.toLowerCase();
        field.addEventListener("change", () => act(field.value));
        return labelled(name, field);
      };
      const slider = (name, value, act) => {
        const field = Object.assign(document.createElement("input"), { type: "range", min: 0, max: 1, step: 0.02, value });
        field.name = name.toLowerCase();
        field.addEventListener("input", act);
        return labelled(name, field);
      };
      const button = (name, text, act) => {
        const field = Object.assign(document.createElement("button"), { type: "button", name, textContent: text });
        field.addEventListener("click", act);
        bar.append(field);
        return field;
      };
      const views = [["Multiplanar", "all"], ["Axial", "axial"], ["Coronal", "coronal"], ["Sagittal", "sagittal"], ["Render", "3D"]];
      const turn = (view) => this.nv.setSliceType(this.nv[`sliceType${view}`]);
      this.fields = {
        view: choice("View", views, turn),
        channel: choice("Channel", Object.entries(this.data.channels).map(([role, { name }]) => [role, name]), (role) => this.channel(role)),
        region: choice("Region", Object.keys(this.data.regions).map((name) => [name, name]), (region) => this.outline(region)),
        outlines: slider("Outlines", 1, () => this.opacities()),
        errors: slider("Errors", 0.4, () => this.opacities()),
        ...(this.data.uncertainty && { uncertainty: slider("Uncertainty", 0, () => this.opacities()) }),
        dark: slider("Dark", 0, () => this.window()),
        light: slider("Light", 1, () => this.window()),
        witness: button("witness", "Hausdorff distance", () => this.goTo("witness")),
        false: button("false", "Largest false part", () => this.goTo("false")),
        missed: button("missed", "Largest missed part", () => this.goTo("missed")),
      };
      this.canvas = document.createElement("canvas");
      this.canvas.setAttribute("aria-label", "Slices of the case: the wheel scrolls, a click moves the cross");
      this.canvas.tabIndex = 0;
      const frame = document.createElement("div");
      frame.className = "viewer-frame";
      frame.append(this.canvas);
      this.said = Object.assign(document.createElement("p"), { className: "viewer-place" });
      this.said.setAttribute("aria-live", "polite");
      this.here = Object.assign(document.createElement("p"), { className: "viewer-here" });
      const legend = document.createElement("p");
      legend.className = "viewer-legend";
      const mark = (colour, text) => {
        const item = document.createElement("span");
        item.style.setProperty("--mark", colour);
        item.textContent = text;
        legend.append(item);
      };
      mark("#35D0FF", "truth");
      mark("#FF9F1F", "prediction");
      mark("#FFFFFF", "surface of both");
      this.kinds.forEach(({ name, colour }) => mark(colour, name));
      if (this.data.uncertainty) {
        const before = this.data.uncertainty.processed ? " before post-processing" : "";
        mark("#E63CFF", `uncertainty: entropy of the network's probabilities${before}, to 1 bit`);
      }
      this.place.replaceChildren(bar, frame, this.here, this.said, legend);
    }

    // Show a channel: the first becomes the volume below all others, another takes its place.
    async channel(role) {
      const { shape, columns, affine, channels } = this.data;
      const { picture, low, step } = channels[role];
      const greys = await decode(picture, shape, columns);
      for (let at = 0; at < greys.length; at++) if (this.codes[at] < BRAIN) greys[at] = 0; // what compression left around the brain
      this.role = role;
      const { nv } = this;
      if (nv.volumes.length) {
        const volume = nv.volumes[0];
        const other = await niivue.NVImage.new(nifti(greys, shape, affine, step, low - step), "image.nii", "gray", 1);
        volume.img = other.img;
        volume.hdr = other.hdr;
        Object.assign(volume, { global_min: other.global_min, global_max: other.global_max });
      } else {
        await nv.loadFromArrayBuffer(nifti(greys, shape, affine, step, low - step), "image.nii");
      }
      this.window();
    }

    // Lay the map of entropy over the channel, below the outlines.
    async uncertain() {
      const { shape, columns, affine, uncertainty } = this.data;
      const { nv } = this;
      const codes = await decode(uncertainty.picture, shape, columns);
      this.bits = Float32Array.from(codes, (code) => code / uncertainty.levels);
      nv.addColormap("uncertainty", UNCERTAINTY);
      await nv.loadFromArrayBuffer(nifti(codes, shape, affine, 1 / uncertainty.levels), "uncertainty.nii");
      this.layers.uncertainty = nv.volumes.length - 1;
      const volume = Object.assign(nv.volumes.at(-1), { colormap: "uncertainty", cal_min: 0, cal_max: 1 });
      nv.setModulationImage(volume.id, volume.id, 1); // the less there is, the more the image shows through
    }

    window() {
      const { low, step, window: [from, to] } = this.data.channels[this.role];
      // The sliders' ends are the darkest and the lightest intensity, 0 and 1 the window of the pictures.
      const [dark, light] = [Number(this.fields.dark.value), Number(this.fields.light.value)];
      const volume = this.nv.volumes[0];
      volume.cal_min = from + dark * (to - from);
      volume.cal_max = Math.max(volume.cal_min + step, from + light * (to - from));
      this.nv.updateGLVolume();
      this.nv.createOnLocationChange();
    }

    async outline(region = this.region) {
      this.region = region;
      const { shape, columns, regions, errors, places } = this.data;
      const labels = new Set(regions[region]);
      const has = (side) => surface(this.codes.map((code) => (labels.has(side(code % BRAIN)) ? 1 : 0)), shape);
      const truth = has((code) => code % SIDE);
      const prediction = has((code) => Math.floor(code / SIDE));
      this.nv.volumes[this.layers.outlines].img = truth.map((there, at) => there + 2 * prediction[at]);
      this.kindsHere = await decode(errors[region], shape, columns);
      this.nv.volumes[this.layers.errors].img = this.kindsHere;
      this.nv.updateGLVolume();
      this.ends = 0;
      for (const name of ["witness", "false", "missed"]) this.fields[name].disabled = !places[region][name];
      this.said.textContent = places[region].note ? `${region}: ${places[region].note}.` : "";
      this.nv.createOnLocationChange();
    }

    opacities() {
      for (const [name, place] of Object.entries(this.layers)) this.nv.setOpacity(place, Number(this.fields[name].value));
    }

    // Move the cross to a place; to the ends of a Hausdorff distance by turns, the far one first. Tell whether there is one.
    goTo(name) {
      const place = this.data.places[this.region][name];
      if (!place) return false;
      let mm = place.mm;
      if (name === "witness") {
        const other = place.from === "truth" ? "prediction" : "truth";
        const [here, there] = this.ends++ % 2 ? [other, place.from] : [place.from, other];
        mm = place[here];
        this.said.textContent = `${this.region}: ${place.length_mm.toFixed(1)} mm between the ${here} here and the ${there}.`;
      } else {
        const part = name === "false" ? "false part: no truth here" : "missed part: no prediction here";
        this.said.textContent = `${this.region}: the largest ${part}, ${place.ml.toFixed(3)} ml.`;
      }
      this.nv.scene.crosshairPos = this.nv.mm2frac(mm);
      this.nv.drawScene();
      this.nv.createOnLocationChange();
      return true;
    }

    tell({ mm, values }) {
      if (!this.kindsHere) return;
      const [width, height, depth] = this.data.shape;
      const [x, y, z] = this.voxel(mm);
      const inside = x >= 0 && y >= 0 && z >= 0 && x < width && y < height && z < depth;
      const at = x + width * (y + height * z);
      const code = inside ? this.codes[at] % BRAIN : 0;
      const kind = inside && this.kindsHere[at] ? `, ${this.kinds[this.kindsHere[at] - 1].name}` : "";
      const channel = this.data.channels[this.role].name;
      const place = [...mm].slice(0, 3).map((value) => value.toFixed(1).replace("-", "−")).join(", ");
      const value = values[0].value.toFixed(0).replace("-", "−");
      const both = `truth ${LABELS[code % SIDE]}, prediction ${LABELS[Math.floor(code / SIDE)]}`;
      const bits = inside && this.bits ? ` · entropy ${this.bits[at].toFixed(1)} bit` : "";
      this.here.textContent = `(${place}) mm, RAS · ${channel} ${value} · ${both}${kind}${bits}`;
    }

    // The voxel, along the stored axes, at a place in mm.
    voxel(mm) {
      const [a, b, c] = this.data.affine; // rows of three columns and the origin
      const [u, v, w] = [mm[0] - a[3], mm[1] - b[3], mm[2] - c[3]];
      const determinant = (p, q, r) =>
        p[0] * (q[1] * r[2] - q[2] * r[1]) - p[1] * (q[0] * r[2] - q[2] * r[0]) + p[2] * (q[0] * r[1] - q[1] * r[0]);
      const instead = (column) => [a, b, c].map((row, place) => row.slice(0, 3).with(column, [u, v, w][place]));
      return [0, 1, 2].map((column) => Math.round(determinant(...instead(column)) / determinant(a, b, c)));
    }

    end() {
      this.nv?.gl?.getExtension("WEBGL_lose_context")?.loseContext();
      delete this.place.dataset.ready;
      this.place.replaceChildren();
    }
  }

  let open = null;
  const able = Boolean(document.createElement("canvas").getContext("webgl2"));
  for (const button of document.querySelectorAll("button.turn")) {
    const place = button.nextElementSibling;
    button.hidden = false;
    if (!able) {
      button.disabled = true;
      button.title = "This browser has no WebGL 2";
    }
    button.addEventListener("click", async () => {
      const same = open?.place === place;
      open?.end();
      open = null;
      document.querySelectorAll("button.turn").forEach((other) => other.setAttribute("aria-expanded", "false"));
      if (same) return;
      try {
        place.textContent = "Loading …";
        if (!globalThis.niivue) await load("viewer/niivue.js");
        await load(button.dataset.volumes);
        const kinds = JSON.parse(document.getElementById("kinds").textContent);
        open = new Viewer(place, globalThis.glioflowVolumes, kinds);
        place.viewer = open;
        button.setAttribute("aria-expanded", "true");
        await open.start();
        place.dataset.ready = "";
      } catch (error) {
        place.textContent = `The viewer cannot be shown: ${error.message}.`;
      }
    });
  }
}
