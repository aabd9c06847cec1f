"""The GraphQL operations of the viewer, against the generic layer of the API's schema."""

from __future__ import annotations

_VALUE = "path number value unit symbol quality stale sourceTime seq"
_RUL = "rulDays low high health recommendation modelHealth reason seq"
_ALERT = "alertId rule dtId severity state message path value threshold unit raisedAt seq"
_PAGE = "pageInfo { hasNextPage endCursor }"

ABOUT = """
query ViewerAbout {
  serviceInfo { name version seq mode startedAt }
  alertRules { name model value above below severity message unit }
}
"""

MODELS = (
    """
query ViewerModels($first: Int, $after: String) {
  models(first: $first, after: $after) {
    nodes { modelId displayName extends { modelId } fields { path kind unit } }
    """
    + _PAGE
    + """
  }
}
"""
)

TWINS = f"""
query ViewerTwins($first: Int, $after: String, $shape: [String!], $paths: [String!]) {{
  twins(first: $first, after: $after) {{
    nodes {{
      dtId modelId name seq health stale staleSince
      parent {{ dtId }}
      properties(paths: $shape)
      rul {{ {_RUL} }}
      values(paths: $paths) {{ {_VALUE} }}
    }}
    {_PAGE}
  }}
}}
"""

ALERTS = f"""
query ViewerAlerts($first: Int, $after: String) {{
  alerts(filter: {{state: [RAISED, ACKNOWLEDGED]}}, first: $first, after: $after) {{
    nodes {{ {_ALERT} }}
    {_PAGE}
  }}
}}
"""

TWINS_CHANGED = f"""
subscription ViewerTwinsChanged($filter: TwinChangeFilter, $every: Int) {{
  twinsChanged(filter: $filter, minIntervalMs: $every) {{
    seq time missed
    gap {{ fromSeq toSeq }}
    changes {{ seq kind dtId missed gap {{ fromSeq }} twin {{ stale staleSince }} values {{ {_VALUE} }} }}
  }}
}}
"""

ALERT_CHANGED = f"""
subscription ViewerAlertChanged {{
  alertChanged {{ seq kind missed gap {{ fromSeq toSeq }} alert {{ {_ALERT} }} }}
}}
"""

RUL_CHANGED = f"""
subscription ViewerRulChanged {{
  rulChanged {{ seq missed gap {{ fromSeq toSeq }} estimate {{ dtId {_RUL} }} }}
}}
"""

HISTORY = """
query ViewerHistory($twin: String!, $path: String!, $from: DateTime, $to: DateTime, $bucketMs: Long, $first: Int) {
  history(twin: $twin, path: $path, from: $from, to: $to, bucketMs: $bucketMs, first: $first) {
    unit
    points { time value quality }
    buckets { start count min max avg last }
  }
}
"""

TWIN = f"""
query ViewerTwin($id: String!) {{
  twin(id: $id) {{
    dtId modelId name seq health stale staleSince properties(paths: null)
    rul {{ {_RUL} }}
    values {{ {_VALUE} }}
  }}
}}
"""

ALL_ALERTS = f"""
query ViewerAllAlerts($first: Int, $after: String) {{
  alerts(first: $first, after: $after) {{
    nodes {{ {_ALERT} clearedAt }}
    {_PAGE}
  }}
}}
"""

PAST = f"""
query ViewerPast(
  $model: String!, $path: String!, $from: DateTime!, $to: DateTime!, $bucket: Long!, $first: Int, $after: String
) {{
  twins(filter: {{exactModel: $model}}, first: $first, after: $after) {{
    nodes {{
      dtId
      history(path: $path, from: $from, to: $to, bucketMs: $bucket, first: 2) {{ buckets {{ start last }} }}
    }}
    {_PAGE}
  }}
}}
"""
