// What a page asks again and again while it is shown.

import { told } from "./api.js";
import { changed } from "./store.js";

// `ask` asks, `took(answer, problem)` keeps what came (one of the two), `pause()` gives the milliseconds until the next.
// What is given back ends it, to be called when the page is left: an answer that comes later is nobody's.
export function polling(ask, took, pause) {
  let gone = false;
  let timer;
  async function look() {
    let answer = null;
    let problem = "";
    try {
      answer = await ask();
    } catch (error) {
      problem = told(error);
    }
    if (gone) return;
    took(answer, problem);
    changed();
    timer = setTimeout(look, pause());
  }
  look();
  return () => {
    gone = true;
    clearTimeout(timer);
  };
}
