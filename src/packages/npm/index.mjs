import anabranch from "./index.cjs";

export const { ServerError, findProgram, freshRegion, start } = anabranch;
