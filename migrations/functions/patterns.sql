-- Patterns of names, in which "*" stands for any run of characters.

-- handles reports whether a pattern covers an event name: "*" is any run of
-- characters, and Culvert's own events need a pattern that begins like them.
CREATE OR REPLACE FUNCTION culvert.handles(pattern text, event text) RETURNS boolean
LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
    SELECT event LIKE replace(replace(replace(replace(pattern, '\', '\\'), '%', '\%'), '_', '\_'), '*', '%')
       AND (NOT starts_with(event, 'culvert:') OR starts_with(pattern, 'culvert:'));
END;

-- matches tells whether a name is one of the patterns, in which "*" stands for any
-- run of characters.
CREATE OR REPLACE FUNCTION culvert.matches(patterns text[], name text) RETURNS boolean
LANGUAGE sql IMMUTABLE
BEGIN ATOMIC
    SELECT EXISTS (
           SELECT FROM unnest(patterns) AS p (pattern)
            WHERE name LIKE replace(replace(replace(replace(p.pattern, '\', '\\'), '%', '\%'), '_', '\_'), '*', '%'));
END;
