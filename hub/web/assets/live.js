// A region of the page that the server keeps up to date. Its parts arrive as HTML by key; only what differs is touched,
// so that focus, selection, scroll position and running transitions stay, and nothing flickers.
const LOCAL = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });
const LOCAL_TIME = new Intl.DateTimeFormat(undefined, { timeStyle: "medium", hourCycle: "h23" });

function parse(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  for (const time of template.content.querySelectorAll("time[datetime]")) {
    const moment = new Date(time.dateTime);
    const today = moment.toDateString() === new Date().toDateString();
    time.textContent = (today ? LOCAL_TIME : LOCAL).format(moment);
    time.title = LOCAL.format(moment);
  }
  return template.content.firstElementChild;
}

function morph(old, next) {
  if (old.isEqualNode(next)) return;
  if (old.nodeType !== next.nodeType || old.nodeName !== next.nodeName || old.id !== next.id) {
    old.replaceWith(next);
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    old.data = next.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    const opened = name === "open" && old.localName === "details"; // by the reader, who may leave it so
    if (!opened && !next.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of next.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  if (old.hasAttribute("data-parts")) return; // the parts of a frame are not the frame's own
  const before = [...old.childNodes];
  const after = [...next.childNodes];
  after.forEach((child, index) => (index < before.length ? morph(before[index], child) : old.append(child)));
  before.slice(after.length).forEach((child) => child.remove());
}

export default {
  template: "<div></div>",
  props: { parts: Array, frame: String },
  mounted() {
    this.$el.innerHTML = this.frame || "";
    this.root = this.$el.querySelector("[data-parts]") || this.$el;
    this.nodes = new Map();
    this.begin();
    this.$el.addEventListener("click", (event) => {
      const button = event.target.closest("[data-pick]");
      if (button) this.$emit("pick", button.dataset.pick);
    });
  },
  watch: {
    parts: "begin",
    frame() {
      morph(this.$el.firstElementChild, parse(this.frame));
    },
  },
  methods: {
    begin() {
      this.show(this.parts.map(([key]) => key), Object.fromEntries(this.parts));
    },
    reveal() {
      if (this.$el.getBoundingClientRect().top < 0) this.$el.scrollIntoView();
    },
    show(order, changed) {
      const wanted = new Set(order);
      for (const [key, node] of this.nodes) {
        if (!wanted.has(key)) {
          node.remove();
          this.nodes.delete(key);
        }
      }
      let place = this.root.firstElementChild;
      for (const key of order) {
        if (key in changed) {
          const next = parse(changed[key]);
          const old = this.nodes.get(key);
          if (old?.nodeName === next.nodeName && old.id === next.id) morph(old, next);
          else {
            if (old === place) place = old?.nextElementSibling ?? null;
            old?.remove();
            this.nodes.set(key, next);
          }
        }
        const node = this.nodes.get(key);
        if (!node) continue;
        if (node === place) place = node.nextElementSibling;
        else this.root.insertBefore(node, place);
      }
    },
  },
};
