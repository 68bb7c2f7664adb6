-- The database role of MediPim AU Sync. Run it once as the role `postgres` of a Supabase project (SQL editor, or psql with
-- the direct connection), before the first migration or at any later time; running it again changes nothing.
-- The role has no password yet and cannot log in by one: docs/security.md says how to set it.

-- May log in, and nothing that a role has to be given: no superuser, no new roles or databases, no way around row level
-- security. It sees the rows of its own table because it owns that table.
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'medipim_app') THEN
    CREATE ROLE medipim_app LOGIN;
  END IF;
END $$;

-- Who runs this may act for the role: needed to give it things, and handy for reading schema medipim in the SQL editor.
GRANT medipim_app TO CURRENT_USER;

-- Unqualified names mean our schema, also when a pooler drops what the connection asks for.
ALTER ROLE medipim_app SET search_path = medipim;

-- Everything but the catalogue: made here, so that the role needs no right to make schemas.
CREATE SCHEMA IF NOT EXISTS medipim;
ALTER SCHEMA medipim OWNER TO medipim_app;

-- public.products and its indexes. Of what others own in public the role gets nothing.
GRANT USAGE, CREATE ON SCHEMA public TO medipim_app;

-- What an earlier migration made as another role is handed over. Identity sequences and indexes follow their table.
DO $$ DECLARE
  found regclass;
BEGIN
  FOR found IN
    SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'v') AND (n.nspname = 'medipim' OR (n.nspname = 'public' AND c.relname = 'products'))
  LOOP
    EXECUTE format('ALTER TABLE %s OWNER TO medipim_app', found);
  END LOOP;
END $$;
