-- Patterns of names, in which "*" stands for any run of characters.

-- handles tells whether a handler's pattern covers an event name. Culvert's own events need
-- a pattern that begins with "culvert:".
CREATE OR REPLACE FUNCTION culvert.handles(pattern text, event text) RETURNS boolean
LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
    SELECT event LIKE replace(replace(replace(replace(pattern, '\', '\\'), '%', '\%'), '_', '\_'), '*', '%')
       AND (NOT starts_with(event, 'culvert:') OR starts_with(pattern, 'culvert:'));
END;

-- matches tells whether a name matches one of the patterns.
CREATE OR REPLACE FUNCTION culvert.matches(patterns text[], name text) RETURNS boolean
LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
    SELECT EXISTS (
           SELECT FROM unnest(patterns) AS p (pattern)
            WHERE name LIKE replace(replace(replace(replace(p.pattern, '\', '\\'), '%', '\%'), '_', '\_'), '*', '%'));
END;
