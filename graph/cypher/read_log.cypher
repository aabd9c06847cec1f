MATCH (l:LogEntry)
WHERE l.seq > $after
RETURN l.seq AS seq, l.part AS part, l.time_ns AS time_ns, l.cause AS cause, l.changes AS changes
ORDER BY seq, part
LIMIT $limit
