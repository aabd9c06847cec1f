UNWIND $rows AS row
CREATE (l:LogEntry)
SET l = row
