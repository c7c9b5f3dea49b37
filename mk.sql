\timing on
BEGIN;
CREATE FUNCTION pg_temp.a() RETURNS bigint LANGUAGE sql AS $$ select count(culvert.make_namespace('za'||x)) from generate_series(1,300) x $$;
select pg_temp.a();
CREATE FUNCTION pg_temp.b() RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_hashjoin = off SET jit = off AS $$ BEGIN RETURN (select count(culvert.make_namespace('zb'||x)) from generate_series(1,300) x); END $$;
select pg_temp.b();
CREATE FUNCTION pg_temp.c() RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$ BEGIN BEGIN RETURN (select count(culvert.make_namespace('zc'||x)) from generate_series(1,300) x); EXCEPTION WHEN data_exception THEN RETURN 0; END; END $$;
select pg_temp.c();
CREATE FUNCTION pg_temp.d() RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$ BEGIN RETURN (select count(culvert.make_namespace('zd'||x)) from generate_series(1,300) x); END $$;
select pg_temp.d();
CREATE FUNCTION pg_temp.e() RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET jit = off AS $$ BEGIN RETURN (select count(culvert.make_namespace('ze'||x)) from generate_series(1,300) x); END $$;
select pg_temp.e();
ROLLBACK;
