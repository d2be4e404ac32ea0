import type { Run } from "./index.js";
export const run: Run;
