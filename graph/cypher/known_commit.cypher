MATCH (l:LogEntry {seq: $seq, part: 0})
RETURN l.token AS token
