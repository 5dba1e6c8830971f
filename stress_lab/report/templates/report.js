"use strict";
// Each *.js file beside this one is a block of its own; the page holds them in the order of their names.
