"""A till's key may be bound to locations: what happened elsewhere is not there for it, whoever comes first."""

from tests.posting.shop import ANN, cancel, claim, purchase, shop

HERE, THERE = ("store-12",), ("store-13",)


def test_a_till_cancels_sales_of_its_own_store_alone() -> None:
    corner = shop()
    corner.done(purchase(location="store-12"))
    assert corner.send(cancel(), bound_to=THERE).refused == (404, "purchase_not_found")
    assert corner.send(cancel(), bound_to=HERE).status == 201


def test_a_till_claims_guest_sales_of_its_own_store_alone() -> None:
    corner = shop()
    sale = corner.done(purchase(of=None, location="store-12"))
    assert corner.send(claim(sale["id"], ANN), bound_to=THERE).refused == (404, "purchase_not_found")
    assert corner.send(claim(sale["id"], ANN), bound_to=HERE).status == 201


def test_a_sale_without_a_location_is_anybodys() -> None:
    corner = shop()
    corner.done(purchase())
    assert corner.send(cancel(), bound_to=THERE).status == 201
