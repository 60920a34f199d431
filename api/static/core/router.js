// Which page is shown: #/, #/workloads/NAME, ... Each page is a module with `show(arguments)` giving what to paint, and
// perhaps `enter(arguments)`, which may give a function that is called on leaving.

const PAGES = {
  "": () => import("../pages/fleet.js"),
  workloads: () => import("../pages/workload.js"),
  sparks: () => import("../pages/spark.js"),
  plan: () => import("../pages/plan.js"),
  models: () => import("../pages/models.js"),
  requests: () => import("../pages/requests.js"),
  events: () => import("../pages/events.js"),
  checks: () => import("../pages/checks.js"),
  history: () => import("../pages/history.js"),
  settings: () => import("../pages/settings.js"),
};

let leave;
export const here = { page: null, name: "", failed: "" };

export const to = (...parts) => `#/${parts.map(encodeURIComponent).join("/")}`;

export async function arrive() {
  const [name, ...rest] = location.hash.slice(2).split("/").map(decodeURIComponent);
  leave?.();
  leave = undefined;
  try {
    const page = await (PAGES[name] ?? PAGES[""])();
    here.page = { show: () => page.show(...rest) };
    here.failed = "";
    leave = page.enter?.(...rest);
  } catch (error) {
    here.failed = `This page could not be loaded (${error.message}).`;
  }
  here.name = name in PAGES ? name : "";
}
