// The label is the last segment of a checked model id, given as a parameter: nothing is glued into this text.
UNWIND $rows AS row
CREATE (t:Twin:$(row.label))
SET t = row.properties
