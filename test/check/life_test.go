package check

// otherChecks are those of the tests besides the ready configurations; SERVER and
// AUTHORITY are filled in.
const otherChecks = ``
