/** Every GraphQL operation of the page. Each is checked against the API's schema by the tests. */

const VALUE = "path value quality sourceTime seq stale";
const RUL =
  "dtId rulDays low high health recommendation modelHealth modelVersion method reason sourceTime qualityShare seq";
const TWIN = `dtId modelId name seq stale staleSince health parent { dtId } rul { ${RUL} } properties(paths: ["placement"])`;
const ALERT =
  "id alertId rule dtId severity state message path value threshold unit raisedAt acknowledgedAt acknowledgedBy clearedAt seq";
const ORDER = "id orderId dtId rule title recommendation priority state openedAt closedAt externalId seq";
const PAGE = "pageInfo { hasNextPage endCursor }";

export const START = `query Start {
  serviceInfo { version seq startedAt mode twins sources { name state since reason } }
  alertRules { name model value above below clear severity unit }
}`;
export const INFO = `query Info { serviceInfo { seq mode sources { name state since reason } } }`;
export const MODELS = `query Models($first: Int!, $after: String) {
  models(first: $first, after: $after) {
    nodes { modelId displayName document extends { modelId } fields { path kind schema unit writable } } ${PAGE} }
}`;
export const TWINS = `query Twins($first: Int!, $after: String, $paths: [String!]) {
  twins(first: $first, after: $after) { totalCount nodes { ${TWIN} values(paths: $paths) { ${VALUE} unit symbol } } ${PAGE} }
}`;
export const TWIN_STATE = `query TwinState($id: String!, $paths: [String!]) {
  twin(id: $id) { ${TWIN} values(paths: $paths) { ${VALUE} unit symbol } }
}`;
export const TWIN_DETAIL = `query TwinDetail($id: String!) {
  twin(id: $id) { ${TWIN} all: properties values { ${VALUE} unit symbol } }
}`;
export const ALERTS = `query Alerts($first: Int!, $after: String, $state: [AlertState!]) {
  alerts(filter: { state: $state }, first: $first, after: $after) { nodes { ${ALERT} } ${PAGE} }
}`;
export const ORDERS = `query WorkOrders($first: Int!, $after: String, $state: [WorkOrderState!]) {
  workOrders(filter: { state: $state }, first: $first, after: $after) { nodes { ${ORDER} } ${PAGE} }
}`;
export const ACKNOWLEDGE = `mutation Acknowledge($id: String!) {
  acknowledgeAlert(input: { id: $id }) { alert { ${ALERT} } userErrors { code message remedy } }
}`;

export const TWINS_CHANGED = `subscription TwinsChanged($filter: TwinChangeFilter, $after: Long, $minIntervalMs: Int) {
  twinsChanged(filter: $filter, after: $after, minIntervalMs: $minIntervalMs) {
    seq time missed gap { fromSeq toSeq hint } changes { seq kind dtId values { ${VALUE} } } }
}`;
export const ALERT_CHANGED = `subscription AlertChanged($after: Long) {
  alertChanged(after: $after) { seq missed gap { fromSeq toSeq hint } alert { ${ALERT} } }
}`;
export const RUL_CHANGED = `subscription RulChanged($after: Long) {
  rulChanged(after: $after) { seq missed gap { fromSeq toSeq hint } estimate { ${RUL} } }
}`;
export const ORDER_CHANGED = `subscription WorkOrderChanged($after: Long) {
  workOrderChanged(after: $after) { seq missed gap { fromSeq toSeq hint } workOrder { ${ORDER} } }
}`;

/** One query for `count` series: `h0 .. hN`, each with its own twin and path variable. */
export function replayDocument(count: number): string {
  const numbers = Array.from({ length: count }, (_, i) => i);
  const variables = numbers.map((i) => `$t${i}: String!, $p${i}: String!`).join(", ");
  const fields = numbers.map(
    (i) => `h${i}: history(twin: $t${i}, path: $p${i}, from: $from, to: $to, bucketMs: $bucketMs, first: $first) { twin path unit buckets { start count min max avg last } }`,
  );
  return `query Replay($from: DateTime!, $to: DateTime!, $bucketMs: Long!, $first: Int!, ${variables}) {\n${fields.join("\n")}\n}`;
}
