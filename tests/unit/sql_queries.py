"""Queries that must pass, and queries that must not."""

from __future__ import annotations

LEGITIMATE = """
SELECT 1
FROM fashion LIMIT 3
WITH bags AS (SELECT * FROM fashion WHERE label = 'Bag') SELECT count(*) FROM bags
WITH RECURSIVE t AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM t WHERE a < 9) SELECT sum(a) FROM t
SELECT id, row_number() OVER (PARTITION BY label ORDER BY id) FROM fashion
SELECT f.id, g.id FROM fashion f JOIN by_ip g USING (id) ORDER BY array_distance(f.vector, g.vector) LIMIT 5
SELECT a.id, array_cosine_similarity(a.vector, b.vector) FROM fashion a, fashion b WHERE b.id = 'train/0'
DESCRIBE fashion
SUMMARIZE SELECT label, price FROM fashion
SHOW TABLES
SHOW ALL TABLES
VALUES (1), (2)
SELECT fashion.label FROM fashion WHERE fashion.id IN (SELECT id FROM by_cosine) -- a comment
SELECT * FROM fashion ASOF JOIN by_ip ON fashion.id >= by_ip.id
SELECT unnest(range(10))
SELECT label, list(id), median(price), quantile_cont(price, 0.9) FROM fashion GROUP BY ALL ORDER BY ALL
FROM Fashion SELECT max(price);
SELECT 1 AS a, 2 AS a
FROM fashion f, LATERAL (SELECT * FROM neighbours('fashion', f.vector, 2)) n SELECT f.id, n.id
SELECT latent('fashion', '''train/0'' + baggy')
SELECT array_distance(c.vector::FLOAT[4], a.vector::FLOAT[4]) FROM fashion.centroids c, fashion.attributes a
SELECT f.id, f.label, n.distance FROM neighbours('fashion', 'centroid(''Bag'')', 4) n JOIN fashion f USING (id)
SELECT id FROM fashion WHERE label = 'Bag' UNION SELECT id FROM by_ip ORDER BY 1
""".strip().split("\n")

ATTACKS = """
SELECT 1; SELECT 2
SELECT 1; DROP VIEW fashion
DROP VIEW fashion
DELETE FROM fashion
INSERT INTO fashion SELECT * FROM fashion
UPDATE fashion SET label = 'x'
CREATE TABLE t AS SELECT 1
CREATE TEMP TABLE t (a INT)
CREATE OR REPLACE MACRO lower(x) AS 'x'
ALTER VIEW fashion RENAME TO f
TRUNCATE fashion.centroids
WITH x AS (INSERT INTO fashion.centroids SELECT * FROM fashion.centroids RETURNING *) SELECT * FROM x
WITH x AS (DELETE FROM fashion.centroids RETURNING *) SELECT * FROM x
COPY (SELECT 1) TO '{dir}/out.csv'
COPY fashion TO '{dir}/out.parquet'
COPY fashion.centroids FROM '/etc/passwd'
EXPORT DATABASE '{dir}/out'
IMPORT DATABASE '{dir}/out'
ATTACH '{dir}/other.db'
ATTACH ':memory:' AS other
DETACH memory
USE fashion
INSTALL httpfs
LOAD httpfs
FORCE INSTALL spatial FROM community
SET memory_limit = '100GB'
SET enable_external_access = true
RESET allowed_paths
PRAGMA database_list
PRAGMA enable_profiling
CALL enable_logging(storage = 'file')
CALL pragma_version()
CHECKPOINT
BEGIN
COMMIT
VACUUM
PREPARE p AS SELECT 1
EXECUTE p
EXPLAIN ANALYZE SELECT 1
PIVOT fashion ON label USING count(*)
SELECT * FROM read_csv('/etc/passwd')
SELECT * FROM read_text('/etc/passwd')
SELECT * FROM read_blob('/proc/self/environ')
SELECT * FROM read_json('/etc/hosts')
SELECT * FROM read_parquet('{dir}/*/*/*.parquet')
SELECT * FROM '/etc/passwd'
SELECT * FROM '{dir}/other.parquet'
SELECT * FROM glob('/*')
SELECT * FROM parquet_metadata('{dir}/other.parquet')
SELECT * FROM sniff_csv('/etc/passwd')
SELECT * FROM read_csv('https://example.org/x.csv')
SELECT * FROM 's3://bucket/x.parquet'
SELECT * FROM query('COPY (SELECT 1) TO ''{dir}/out.csv''')
SELECT * FROM query('SELECT 1; DROP VIEW fashion')
SELECT * FROM json_execute_serialized_sql('x')
SELECT getenv('HOME')
SELECT * FROM enable_logging(storage = 'file')
SELECT * FROM enable_profiling(save_location = '{dir}/out.json')
SELECT * FROM write_parquet('{dir}/out.parquet')
SELECT * FROM sqlite_scan('{dir}/x.db', 't')
SELECT * FROM postgres_query('x', 'y')
SELECT * FROM secret_rows
SELECT * FROM nowhere
SELECT * FROM fashion WHERE
SELECT $1
SELECT ?
SELECT nothing FROM fashion
SELECT 'a'::INTEGER
SELECT string_agg(repeat('x', 1000000), '') FROM range(1000000)
SELECT count(DISTINCT a.range * 1000000 + b.range) FROM range(100000) a, range(100000) b
WITH RECURSIVE t AS (SELECT [1] AS a UNION ALL SELECT list_concat(a, a) FROM t) SELECT max(len(a)) FROM t
WITH RECURSIVE t AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM t) SELECT count(*) FROM t
SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE a.range % 7 = b.range % 11
SELECT * FROM read_csv_auto('/etc/passwd')
SELECT * FROM read_ndjson('/etc/hosts')
SELECT * FROM read_ndjson_objects('/etc/hosts')
SELECT * FROM read_json_objects('/etc/hosts')
SELECT * FROM parquet_scan('{dir}/other.parquet')
SELECT * FROM parquet_schema('{dir}/other.parquet')
SELECT * FROM parquet_kv_metadata('{dir}/other.parquet')
SELECT * FROM parquet_bloom_probe('{dir}/other.parquet', 'a', 1)
SELECT * FROM read_duckdb('{dir}/other.db')
SELECT * FROM fashion, '/proc/self/environ'
FROM 'https://example.org/x.parquet'
FROM 'http://127.0.0.1:9/x.csv'
SELECT content FROM read_text('../../../etc/passwd')
SELECT content FROM read_text('file:///etc/passwd')
COPY fashion TO '/dev/stdout'
COPY (SELECT 1) TO 'http://127.0.0.1:9/x'
ATTACH 'http://127.0.0.1:9/x.db' AS x
ATTACH 'postgres://localhost' AS p (TYPE postgres)
CREATE SECRET s (TYPE s3, KEY_ID 'x', SECRET 'y')
SELECT * FROM which_secret('s3://x', 's3')
SET VARIABLE x = 1
SET threads = 64
SET temp_directory = '{dir}'
SELECT set_config('memory_limit', '100GB', false)
SELECT * FROM duckdb_set('memory_limit', '100GB')
SELECT getvariable('HOME') || getenv('PATH')
SELECT * FROM query('SET memory_limit = ''100GB''')
SELECT * FROM query_table('/etc/passwd')
SELECT * FROM query_table(['fashion', '/etc/passwd'])
CREATE MACRO m() AS TABLE SELECT 1
DEALLOCATE p
SELECT * FROM python_map_function('x')
SELECT * FROM arrow_scan(1, 2, 3)
SELECT * FROM pandas_scan(1)
SELECT vector_of_fashion(99, 0) FROM fashion
SELECT vector_of_fashion(0, -1) FROM fashion
SELECT repeat('x', 100000) FROM range(100000)
SELECT range, md5(range::VARCHAR) FROM range(100000000)
SELECT list(range) FROM range(1000000000)
SELECT a.range FROM range(100000) a, range(100000) b ORDER BY hash(a.range, b.range)
SELECT neighbours_of_vector('fashion', [1, 2, 3, 4]::FLOAT[], 1000000000)
""".strip().split("\n")

# Single calls that DuckDB can neither count nor interrupt: only the limits of a process of its own hold them.
BOMBS = """
SELECT length(repeat('x', 4000000000))
SELECT sum(x) FROM (SELECT unnest(range(1000000000)) AS x) WHERE sin(x) > 2
SELECT len(range(4000000000))
SELECT length(repeat(repeat('x', 1000000), 1000000))
SELECT length(rpad('x', 2000000000, 'y'))
SELECT list_sum(list_transform(range(400000000), lambda x: x + 1))
SELECT length(array_to_string(list_transform(range(100000000), lambda x: 'abcdefgh'), ','))
SELECT regexp_matches(repeat('a', 400000000), '(a|aa)+$')
SELECT length(format('{:>2000000000}', 'x'))
SELECT length(bitstring('1', 2000000000)::VARCHAR)
SELECT len(list_sort(range(300000000), 'DESC'))
SELECT levenshtein(repeat('ab', 300000), repeat('ba', 300000))
WITH RECURSIVE t(a) AS (SELECT 'x' UNION ALL SELECT a || a FROM t) SELECT max(length(a)) FROM t
""".strip().split("\n")
