"""Plausible NFTs: collections, their tokens, and what both are worth on a day.

Everything follows from the collection's slug, the token's number and the day. What is not plain:

- On the 15th of each month the oldest NFT of a collection is burned and a new one minted, so that one vanishes, one
  appears, and the size stays. On the 8th, one in 50 gets another name and another trait (and a new `updated_at`).
- Estimated values change from day to day; one in ten NFTs has none.
- Identifiers are numbers of up to 256 bits, in which a float, and even a 64-bit integer, would mistake one for another.
- Names, descriptions and images are missing here and there: null, as real answers have them, or not there at all.
"""

import hashlib
import math
import random
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

INTERVALS = {"one_day": 1, "seven_day": 7, "thirty_day": 30}
_FIRST_MONTH = 2026 * 12
_TRAITS = {
    "Background": ("Dawn", "Noon", "Dusk", "Midnight", "Aurora"),
    "Head": ("Cloud", "Lantern", "Shell", "Acorn", "Kettle", "Owl"),
    "Material": ("Glass", "Felt", "Brass", "Driftwood"),
    "Mood": ("Calm", "Curious", "Sleepy", "Joyful"),
}


@dataclass(frozen=True)
class Collection:
    """A synthetic collection.

    Attributes:
        slug: Its name in URLs.
        size: How many NFTs it holds on any day.
    """

    slug: str
    size: int

    @property
    def title(self) -> str:
        """Its name for people."""
        return self.slug.replace("-", " ").title()

    @property
    def contract(self) -> str:
        """The address of its contract."""
        return "0x" + _hash(self.slug, "contract")[:40]

    @property
    def standard(self) -> str:
        """Its token standard; that of the shared contracts gives identifiers of 256 bits."""
        return "erc1155" if int(_hash(self.slug, "standard"), 16) % 2 else "erc721"

    def members(self, today: date) -> range:
        """The numbers of the NFTs that are there on a day, oldest first."""
        months = today.year * 12 + today.month - 1 - _FIRST_MONTH + (today.day >= 15)
        return range(months, months + self.size)

    def identifier(self, number: int) -> str:
        """An NFT's token id, of up to 78 decimal digits."""
        if self.standard == "erc721" and number % 9:
            return str(7_000 + number)
        # As shared contracts have it: the creator's address, the number and the supply, side by side.
        return str((int(self.contract, 16) << 96 | (number & 2**56 - 1) << 40 | 1) & 2**256 - 1)

    def nft(self, number: int, today: date) -> dict[str, Any]:
        """One NFT as https://docs.opensea.io/reference/list_nfts_by_collection describes it (schema `Nft`)."""
        dice = random.Random(_hash(self.slug, number))  # noqa: S311 - art, not a secret
        identifier = self.identifier(number)
        minted = datetime(2022, 1, 1, 9, 30, tzinfo=UTC) + timedelta(minutes=dice.randrange(1_500_000))
        edition = _edition(number, today)
        image = f"https://images.example.org/{self.slug}/{identifier}.png"
        traits: list[dict[str, Any]] = [
            {"trait_type": kind, "display_type": None, "max_value": None, "value": dice.choice(values)}
            for kind, values in _TRAITS.items()
            if dice.random() < 0.85
        ]
        if dice.random() < 0.3:
            traits.append(
                {"trait_type": "Level", "display_type": "number", "max_value": None, "value": dice.randint(1, 99)}
            )
        if edition is not None:
            traits.append(
                {"trait_type": "Season", "display_type": None, "max_value": None, "value": f"{edition:%Y-%m}"}
            )
        name = f"{self.title} #{number}" if edition is None else f"{self.title} #{number} ({edition:%B})"
        nft: dict[str, Any] = {
            "identifier": identifier,
            "collection": self.slug,
            "contract": self.contract,
            "token_standard": self.standard,
            "name": name,
            "description": f"Number {number} of {self.title}.\nMade once, kept for good \N{WATER WAVE}",
            "image_url": image,
            "display_image_url": image + "?w=500&auto=format",
            "display_animation_url": None,
            "metadata_url": f"https://metadata.example.org/{self.slug}/{identifier}.json",
            "opensea_url": f"https://opensea.io/assets/ethereum/{self.contract}/{identifier}",
            "updated_at": f"{_updated(minted, edition):%Y-%m-%dT%H:%M:%S.%f}",
            "is_disabled": number % 97 == 5,
            "is_nsfw": number % 89 == 7,
            "original_image_url": image,
            "original_animation_url": None,
            "traits": traits,
            "estimated_value_usd": round(dice.lognormvariate(3.2, 0.9) * self._mood(today), 2),
        }
        _lose(nft, number)
        return nft

    def details(self, today: date) -> dict[str, Any]:
        """The collection, as in https://docs.opensea.io/reference/get_collection (`CollectionDetailedResponse`)."""
        owner = "0x" + _hash(self.slug, "owner")[:40]
        image = f"https://images.example.org/{self.slug}"
        minted = self.members(today).stop
        return {
            "collection": self.slug,
            "name": self.title,
            "description": f"{self.size} NFTs of {self.title}, from the sandbox.",
            "image_url": f"{image}/logo.png",
            "banner_image_url": f"{image}/banner.png",
            "owner": owner,
            "safelist_status": "verified",
            "category": "pfps" if self.standard == "erc721" else "art",
            "is_disabled": False,
            "is_nsfw": False,
            "trait_offers_enabled": True,
            "collection_offers_enabled": True,
            "opensea_url": f"https://opensea.io/collection/{self.slug}",
            "project_url": f"https://{self.slug}.example.org",
            "wiki_url": "",
            "discord_url": "",
            "telegram_url": "",
            "twitter_username": self.slug.replace("-", "_")[:15],
            "instagram_username": "",
            "contracts": [{"address": self.contract, "chain": "ethereum"}],
            "editors": [owner],
            "fees": [
                {"fee": 1.0, "recipient": "0x0000a26b00c1f0df003000390027140000faa719", "required": True},
                {"fee": 5.0, "recipient": owner, "required": False},
            ],
            "rarity": {
                "calculated_at": "2026-01-05T08:00:00.000000",
                "max_rank": self.size,
                "total_supply": self.size,
                "strategy_id": "openrarity",
                "strategy_version": "1.0",
            },
            "total_supply": minted,
            "unique_item_count": self.size,
            "created_date": "2022-01-01T00:00:00Z",
            "pricing_currencies": {"listing_currency": _currency("ETH"), "offer_currency": _currency("WETH")},
        }

    def stats(self, today: date) -> dict[str, Any]:
        """What was sold up to a day, as in https://docs.opensea.io/reference/get_collection_stats."""
        intervals = [self._sold(name, today, days) for name, days in INTERVALS.items()]
        total = self._sold("", today, (today - date(2026, 1, 1)).days)
        return {
            "total": {
                "volume": round(total["volume"] + self.size * 1.7, 4),
                "sales": total["sales"] + self.size * 3,
                "num_owners": math.ceil(self.size * 0.6),
                "floor_price": round(0.02 * self._mood(today), 4),
                "floor_price_symbol": "ETH",
            },
            "intervals": intervals,
        }

    def _sold(self, interval: str, today: date, days: int) -> dict[str, Any]:
        sales = [self._sales(today - timedelta(days=back)) for back in range(1, days + 1)]
        return {"interval": interval, "volume": round(sum(v for v, _ in sales), 4), "sales": sum(n for _, n in sales)}

    def _sales(self, day: date) -> tuple[float, int]:
        dice = random.Random(_hash(self.slug, "sales", day))  # noqa: S311
        count = int(dice.expovariate(1 / (1 + self.size / 50)))
        return count * 0.03 * self._mood(day), count

    def _mood(self, day: date) -> float:
        """What the market pays on a day, beside 1."""
        dice = random.Random(_hash(self.slug, "mood", day))  # noqa: S311
        phase = int(_hash(self.slug), 16) % 628 / 100
        return (1 + 0.25 * math.sin(day.toordinal() / 17 + phase)) * dice.uniform(0.97, 1.03)


def _edition(number: int, today: date) -> date | None:
    """The last 8th of a month that gave an NFT another name, if one did."""
    back = today if today.day >= 8 else today.replace(day=1) - timedelta(days=1)
    for _ in range(50):
        if (back.year * 12 + back.month + number) % 50 == 0:
            found = back.replace(day=8)
            return found if found >= date(2026, 1, 1) else None
        back = back.replace(day=1) - timedelta(days=1)
    return None


def _updated(minted: datetime, edition: date | None) -> datetime:
    """When its metadata changed last: minted, or given a new edition."""
    if edition is None:
        return minted
    return datetime(edition.year, edition.month, edition.day, 4, minted.minute, minted.second, minted.minute * 7919)


def _lose(nft: dict[str, Any], number: int) -> None:
    """Take from an NFT what the documentation calls optional: null as real answers have it, or not there at all."""
    if number % 7 == 3:
        nft["name"] = nft["description"] = None
    if number % 11 == 4:
        nft["image_url"] = nft["display_image_url"] = nft["original_image_url"] = None
    if number % 10 == 6:
        del nft["estimated_value_usd"]
    if number % 13 == 2:
        for optional in ("description", "display_animation_url", "metadata_url", "original_animation_url"):
            del nft[optional]
    if number % 29 == 11:
        nft["traits"] = []


def _currency(symbol: str) -> dict[str, Any]:
    address = "0x" + "0" * 40 if symbol == "ETH" else "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2"
    return {
        "symbol": symbol,
        "address": address,
        "chain": "ethereum",
        "image": f"https://images.example.org/{symbol.lower()}.png",
        "name": "Ether" if symbol == "ETH" else "Wrapped Ether",
        "decimals": 18,
        "eth_price": "1.000000000000000",
        "usd_price": "2911.440000000000",
    }


def _hash(*parts: object) -> str:
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()
