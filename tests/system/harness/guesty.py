"""What the rows should be: Guesty's items as rows, written from the documentation of the tables, not from the adapter."""

from datetime import date, datetime
from decimal import Decimal

MINOR_DIGITS = {"JPY": 0, "ISK": 0, "KWD": 3}
TYPES = {"Apartment": "apartment", "House": "house", "Condominium": "condo", "Villa": "villa", "Cabin": "cabin",
         "Boutique hotel": "hotel", "Bed & Breakfast": "bed_and_breakfast", "Guesthouse": "house"}
STATUSES = {"inquiry": "inquiry", "reserved": "pending", "confirmed": "confirmed", "canceled": "cancelled",
            "declined": "cancelled", "expired": "cancelled", "closed": "cancelled", "checked_in": "checked_in",
            "checked_out": "checked_out"}


def at(item, path):
    for key in path.split("."):
        item = item.get(key) if isinstance(item, dict) else None
    return item


def first(item, *paths):
    return next((v for v in (at(item, p) for p in paths) if v not in (None, "")), None)


def whole(value):
    return None if value is None else int(value)


def number(value):
    return None if value is None else float(value)


def money(value, currency):
    if value is None:
        return None
    minor = Decimal(str(value)) * 10 ** MINOR_DIGITS.get(currency, 2)
    assert minor == int(minor), "the sandbox makes no amounts finer than the currency"
    return int(minor)


def time(text):
    return None if text is None else datetime.fromisoformat(text.replace("Z", "+00:00"))


def listing_row(item):
    """The row of `resources` as a dict, or None if the item has to be set aside."""
    name = first(item, "nickname", "title")
    if name is None:
        return None
    currency = at(item, "prices.currency")
    return {
        "external_id": item["_id"], "kind": "listing", "name": name, "type": TYPES.get(item["propertyType"], "other"),
        "status": "active" if item["isListed"] else "inactive", "address1": at(item, "address.street"),
        "city": at(item, "address.city"), "region": at(item, "address.state"), "postal_code": at(item, "address.zipcode"),
        "lat": number(at(item, "address.lat")), "lng": number(at(item, "address.lng")), "timezone": item["timezone"],
        "currency": currency, "price_minor": money(at(item, "prices.basePrice"), currency),
        "cleaning_fee_minor": money(at(item, "prices.cleaningFee"), currency), "capacity": whole(item["accommodates"]),
        "bedrooms": whole(item["bedrooms"]), "beds": whole(item["beds"]), "bathrooms": number(item["bathrooms"]),
        "min_nights": at(item, "terms.minNights"), "max_nights": at(item, "terms.maxNights"), "check_in_time": "15:00",
        "check_out_time": "11:00", "partner_created_at": time(item["createdAt"]),
        "partner_updated_at": time(item["lastUpdatedAt"]), "deleted_at": None,
    }


def is_time(text):
    try:
        return time(text) is not None
    except (ValueError, AttributeError):
        return False


def reservation_row(item):
    """The row of `transactions`, or None."""
    if not is_time(item.get("checkIn")) or not is_time(item.get("checkOut")):
        return None
    currency = at(item, "money.currency")
    return {
        "external_id": item["_id"], "resource_external_id": item["listingId"],
        "status": STATUSES.get(item["status"], "other"), "status_raw": item["status"], "source": item["source"],
        "code": item["confirmationCode"], "starts_at": time(item["checkIn"]), "ends_at": time(item["checkOut"]),
        "starts_on": date.fromisoformat(item["checkInDateLocalized"]),
        "ends_on": date.fromisoformat(item["checkOutDateLocalized"]), "nights": item["nightsCount"],
        "guests": item["guestsCount"], "guest_name": at(item, "guest.fullName"), "guest_email": at(item, "guest.email"),
        "guest_phone": at(item, "guest.phone"), "currency": currency,
        "paid_minor": money(at(item, "money.totalPaid"), currency),
        "balance_minor": money(at(item, "money.balanceDue"), currency), "partner_created_at": time(item["createdAt"]),
        "partner_updated_at": time(item["lastUpdatedAt"]), "deleted_at": None,
    }


def photo_rows(item):
    """(rows, how many pictures have to be set aside) of one listing; a row without `external_id` has one made up."""
    rows, aside = [], 0
    for position, picture in enumerate(item["pictures"]):
        url = first(picture, "original", "large", "regular", "thumbnail")
        if url is None:
            aside += 1
            continue
        row = {"resource_external_id": item["_id"], "kind": "photo", "url": url, "position": position,
               "caption": picture["caption"], "deleted_at": None}
        if "_id" in picture:
            row["external_id"] = picture["_id"]
        rows.append(row)
    return rows, aside


def expected(items, row_of):
    """external_id -> row of all that can be stored, and the ids of what has to be set aside."""
    rows, aside = {}, set()
    for item in (i["item"] for i in items):
        row = row_of(item)
        if row is None:
            aside.add(item["_id"])
        else:
            rows[row["external_id"]] = row
    return rows, aside


def differences(rows, wanted, most=5):
    """What differs between rows of the database and the wanted ones, in words; [] when nothing does."""
    found = [f"{len(rows)} rows instead of {len(wanted)}"] if len(rows) != len(wanted) else []
    by_id = {row["external_id"]: row for row in rows}
    for external_id, want in wanted.items():
        row = by_id.get(external_id)
        if row is None:
            found.append(f"{external_id} is missing")
            continue
        wrong = {k: (row[k], v) for k, v in want.items() if row[k] != v}
        if wrong:
            found.append(f"{external_id}: (is, should be) {wrong}")
    return found[:most]
