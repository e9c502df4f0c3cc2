// Analyses KQL. Reads {tables: {name: {column: type}}, queries: [text]} as JSON from standard input; writes, for each query, its
// errors and the columns of its result.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
require("@kusto/language-service-next/bridge.js");
require("@kusto/language-service-next/Kusto.Language.Bridge.js");
const { GlobalState, KustoCode } = globalThis.Kusto.Language;

const { tables, queries } = JSON.parse(readFileSync(0, "utf8"));
const declarations = Object.entries(tables).map(([name, columns]) => {
  const typed = Object.entries(columns).map(([column, type]) => `['${column}']: ${type}`);
  return `let ${name} = datatable(${typed.join(", ")})[];\n`;
});

function* each(list) {
  for (let index = 0; index < list.Count; index += 1) yield list.getItem(index);
}

const told = queries.map((query) => {
  const code = KustoCode.ParseAndAnalyze(declarations.join("") + query, GlobalState.Default);
  const columns = code.ResultType?.Columns;
  return {
    errors: [...each(code.GetDiagnostics())].map((diagnostic) => diagnostic.Message),
    columns: columns ? Object.fromEntries([...each(columns)].map((column) => [column.Name, column.Type.Name])) : {},
  };
});
console.log(JSON.stringify(told));
