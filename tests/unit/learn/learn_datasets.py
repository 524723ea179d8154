"""The real data sets, prepared after their published protocols; a test skips by name where one is absent."""

from pathlib import Path

import numpy as np
import pytest

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"


def _parquet(name: str):
    import pyarrow.parquet as pq

    path = DATA / name
    if not path.exists():
        pytest.skip(f"data set {name} is not beside the checkout")
    return pq.read_table(path)


def movielens() -> dict[str, np.ndarray]:
    """ml-latest-small: 100,836 ratings."""
    table = _parquet("ml-latest-small/ratings.parquet")
    return {
        "user": table["userId"].to_numpy().astype(np.int64),
        "item": table["movieId"].to_numpy().astype(np.int64),
        "rating": table["rating"].to_numpy().astype(np.float64),
    }


def retail() -> dict[str, np.ndarray]:
    """Both years of Online Retail: known customers, sales only, 5-core; items are ranks of the stock codes sold."""
    import pandas as pd

    first = _parquet("online-retail/online_retail_2009_2010.parquet").to_pandas()
    second = _parquet("online-retail/online_retail_2010_2011.parquet").to_pandas()
    rows = pd.concat([first[~first.InvoiceNo.isin(set(second.InvoiceNo))], second])
    rows = rows[rows.CustomerID.notna() & (rows.Quantity > 0) & (rows.UnitPrice > 0)]
    codes = np.unique(rows.StockCode.to_numpy().astype(str))
    pairs = rows[["CustomerID", "StockCode", "Country"]].drop_duplicates(["CustomerID", "StockCode"])
    while True:
        users, items = pairs.CustomerID.value_counts(), pairs.StockCode.value_counts()
        kept = pairs.CustomerID.map(users).ge(5) & pairs.StockCode.map(items).ge(5)
        if kept.all():
            break
        pairs = pairs[kept]
    return {
        "user": pairs.CustomerID.to_numpy().astype(np.int64),
        "item": np.searchsorted(codes, pairs.StockCode.to_numpy().astype(str)).astype(np.int64),
        "country": pairs.Country.to_numpy().astype(str),
    }


def divided(columns: dict[str, np.ndarray], owner: np.ndarray, parties: int) -> list[dict[str, np.ndarray]]:
    """The rows of each party."""
    return [{name: values[owner == p] for name, values in columns.items()} for p in range(parties)]


DRUGS = [
    "metformin",
    "repaglinide",
    "nateglinide",
    "chlorpropamide",
    "glimepiride",
    "acetohexamide",
    "glipizide",
    "glyburide",
    "tolbutamide",
    "pioglitazone",
    "rosiglitazone",
    "acarbose",
    "miglitol",
    "troglitazone",
    "tolazamide",
    "examide",
    "citoglipton",
    "insulin",
    "glyburide-metformin",
    "glipizide-metformin",
    "glimepiride-pioglitazone",
    "metformin-rosiglitazone",
    "metformin-pioglitazone",
]
NUMBERS = [
    "time_in_hospital",
    "num_lab_procedures",
    "num_procedures",
    "num_medications",
    "number_outpatient",
    "number_emergency",
    "number_inpatient",
    "number_diagnoses",
]
CHAPTERS = [139, 239, 279, 289, 319, 389, 459, 519, 579, 629, 679, 709, 739, 759, 779, 799, 999]


def _chapter(code: str) -> str:
    if not code[:1].isdigit():
        return code[:1]
    whole = int(float(code))
    return str(next(n for n, last in enumerate(CHAPTERS) if whole <= last))


def readmission() -> dict[str, np.ndarray]:
    """UCI 296, all encounters: the target is readmission within 30 days."""
    table = _parquet("diabetes-130-us-hospitals/diabetic_data.parquet")
    columns = {
        n: np.asarray(table[n].to_pylist(), dtype=str) for n in LEVELS if n not in {"diag_1", "diag_2", "diag_3"}
    }
    for name in ("diag_1", "diag_2", "diag_3"):
        codes, inverse = np.unique(np.asarray(table[name].to_pylist(), dtype=str), return_inverse=True)
        columns[name] = np.array([_chapter(c) for c in codes])[inverse]
    for name in NUMBERS:
        columns[name] = table[name].to_numpy().astype(np.float64)
    columns["patient_nbr"] = table["patient_nbr"].to_numpy().astype(np.int64)
    columns["readmitted"] = (np.asarray(table["readmitted"].to_pylist(), dtype=str) == "<30").astype(np.int64)
    return columns


LEVELS = (
    *(
        [
            "race",
            "gender",
            "age",
            "admission_type_id",
            "discharge_disposition_id",
            "admission_source_id",
            "payer_code",
            "medical_specialty",
        ]
    ),
    *(["diag_1", "diag_2", "diag_3", "max_glu_serum", "A1Cresult", "change", "diabetesMed"]),
    *DRUGS,
)
