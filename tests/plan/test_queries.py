"""Queries over three parties equal the same query over the pooled rows."""

import pytest

QUERIES = [
    "SELECT COUNT(*) FROM sales",
    "SELECT COUNT(*) AS n, COUNT(q), SUM(q), AVG(q), SUM(d), AVG(d) FROM sales",
    "SELECT SUM(CAST(x AS DECIMAL(18,3))), SUM(q * d), SUM(q * CAST(x AS DECIMAL(18,3))) FROM sales",
    "SELECT region, COUNT(*), SUM(d) FROM sales GROUP BY region",
    "SELECT region, flag, COUNT(*) FROM sales GROUP BY region, flag ORDER BY region, flag",
    "SELECT country, COUNT(*) AS n, SUM(big) AS s FROM sales GROUP BY country ORDER BY n DESC, country LIMIT 4",
    "SELECT country, COUNT(*) FROM sales GROUP BY 1 ORDER BY 1 NULLS FIRST LIMIT 3 OFFSET 1",
    "SELECT country, region, AVG(d) FROM sales WHERE q > 10 GROUP BY ALL ORDER BY 1, 2",
    "SELECT day, COUNT(*) FROM sales WHERE day < '2010-03-10' GROUP BY day ORDER BY day",
    "SELECT date_trunc('month', t) AS month, SUM(d) FROM sales GROUP BY month ORDER BY month",
    "SELECT EXTRACT(month FROM t) AS m, COUNT(*) FROM sales GROUP BY m ORDER BY m",
    "SELECT quarter(t), dayofweek(t), COUNT(*) FROM sales GROUP BY ALL ORDER BY 1, 2",
    "SELECT FLOOR(x / 100) AS bucket, COUNT(*) FROM sales GROUP BY bucket ORDER BY bucket",
    "SELECT small, COUNT(*) FROM sales GROUP BY small HAVING COUNT(*) > 100 ORDER BY small DESC",
    "SELECT q > 0 AS positive, COUNT(*), SUM(q) FROM sales GROUP BY positive ORDER BY 1",
    "SELECT CASE WHEN q < 0 THEN 'neg' WHEN q < 50 THEN 'low' ELSE 'high' END AS c, COUNT(*) FROM sales GROUP BY c",
    "SELECT SUM(q) FILTER (WHERE region = 'n'), COUNT(*) FILTER (WHERE flag), AVG(d) FILTER (WHERE q > 3) FROM sales",
    "SELECT SUM(CASE WHEN flag THEN d ELSE 0 END), SUM(CASE WHEN flag THEN d END) FROM sales",
    "SELECT VAR_POP(q), VAR_SAMP(d), STDDEV_POP(d), STDDEV_SAMP(q), VARIANCE(q), STDDEV(q) FROM sales",
    "SELECT COVAR_POP(q, d), COVAR_SAMP(d, q), CORR(q, d), REGR_SLOPE(d, q), REGR_INTERCEPT(d, q) FROM sales",
    "SELECT REGR_R2(d, q), REGR_COUNT(d, q), REGR_AVGX(d, q), REGR_AVGY(d, q), REGR_SXX(d, q) FROM sales",
    "SELECT REGR_SYY(d, q), REGR_SXY(d, q) FROM sales WHERE q BETWEEN 0 AND 20",
    "SELECT region, CORR(q, small) FROM sales GROUP BY region",
    "SELECT COUNT(DISTINCT customer) FROM sales",
    "SELECT region, COUNT(DISTINCT customer) FROM sales GROUP BY region",
    "SELECT COUNT(q) * 2 + 1 FROM sales",
    (
        "SELECT AVG(n), SUM(s) FROM (SELECT customer, COUNT(*) AS n, SUM(d) AS s FROM sales WHERE customer IS NOT NULL "
        "GROUP BY customer) AS c"
    ),
    (
        "SELECT b, COUNT(*) FROM (SELECT customer, COUNT(*) > 29 AS b FROM sales WHERE customer > 0 GROUP BY customer) "
        "GROUP BY b ORDER BY b"
    ),
    "WITH good AS (SELECT region, q * 2 AS z FROM sales WHERE flag) SELECT region, SUM(z) FROM good GROUP BY 1",
    (
        "WITH c AS (SELECT customer, MAX(q) AS m, MIN(d) AS lo FROM sales WHERE customer > 3 GROUP BY customer "
        "HAVING COUNT(*) > 5) SELECT COUNT(*), SUM(m), SUM(lo) FROM c WHERE m > 100"
    ),
    "SELECT SUM(d) / COUNT(*), SUM(d) * 2, SUM(q) + 1, SUM(q) % 7, -SUM(q), ABS(SUM(q)) FROM sales",
    "SELECT COALESCE(SUM(q), 0), SUM(q), AVG(q), COUNT(q), VAR_SAMP(q) FROM sales WHERE region = 'w'",
    "SELECT region, SUM(q) FROM sales WHERE region = 'w' GROUP BY region",
    "SELECT VAR_SAMP(q), VAR_POP(q), STDDEV_SAMP(q) FROM sales WHERE big = 7919 - 500000",
    "SELECT COUNT(*) FROM sales WHERE country LIKE 'Land%3_' OR country ILIKE 'lAND 1'",
    "SELECT COUNT(*) FROM sales WHERE country NOT LIKE '%1' AND region IN ('n', 'w') AND q NOT IN (1, 2, 3)",
    "SELECT COUNT(*) FROM sales WHERE NOT (q > 5 OR d < 3) AND flag IS NOT TRUE",
    "SELECT COUNT(*) FROM sales WHERE t >= TIMESTAMP '2010-02-01' AND t < DATE '2010-02-01' + INTERVAL 3 MONTH",
    "SELECT COUNT(*) FROM sales WHERE date_diff('day', day, t) > 10 AND year(t) = 2010",
    "SELECT UPPER(SUBSTR(country, 1, 6)) AS c, COUNT(*) FROM sales GROUP BY c ORDER BY c",
    "SELECT LENGTH(country) AS l, SUM(LENGTH(country)) FROM sales GROUP BY l ORDER BY l",
    "SELECT SUM(q / 4), SUM(d * 0.15), AVG(x * 2) FROM sales",
    "SELECT SUM(q // 7), SUM(q % 7), SUM(ROUND(d, 1)), SUM(CEIL(d)), SUM(FLOOR(d)), SUM(TRUNC(d)) FROM sales",
    "SELECT SUM(ABS(q)), SUM(-d), SUM(SIGN(q)), SUM(GREATEST(q, 5)), SUM(LEAST(d, 1)), SUM(COALESCE(q, d)) FROM sales",
    "SELECT SUM(NULLIF(q, 10)), SUM(q * q), SUM(POWER(small, 3)) FROM sales",
    "SELECT SUM(flag::INTEGER), COUNT_IF(q > 3), SUM(CAST(d AS INTEGER)), SUM(CAST(q AS DECIMAL(8,1))) FROM sales",
    "SELECT DISTINCT region FROM sales ORDER BY region",
    "SELECT DISTINCT COUNT(*) > 0 FROM sales GROUP BY country",
    "SELECT customer, COUNT(*) AS n FROM sales GROUP BY customer ORDER BY n DESC, customer LIMIT 5",
    "SELECT region, ROUND(AVG(d), 2) AS a FROM sales GROUP BY region HAVING AVG(d) > -1000 ORDER BY a",
    "SELECT region, COUNT(*) AS n, n * 2 AS m FROM sales GROUP BY region ORDER BY m DESC, region",
    "SELECT COUNT(*) FROM sales WHERE region IS DISTINCT FROM 'n'",
    "SELECT day - DATE '2010-03-01' AS o, COUNT(*) FROM sales WHERE day < DATE '2010-03-05' GROUP BY o ORDER BY o",
]


@pytest.mark.parametrize("sql", QUERIES)
def test_answers_equal_the_pooled_table(sales, sql):
    sales.check(sql)
