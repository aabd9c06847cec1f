"""The names of units, as data: DTDL's terms, the spellings found on machines and the codes of UNECE Recommendation 20.

Terms and their unit types are those of DTDL's quantitativeTypes extension, version 2 (version 1 and DTDL v2 have a part
of them). Each row: DTDL term, pint expression, symbol. Of several kinds with the same dimensions the first one stands
for units that have no term. Longer than 400 lines because it is a table.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unit:
    """`pint`: an expression that pint reads; `kind`: DTDL's unit type."""

    pint: str
    symbol: str
    kind: str


_ROWS: dict[str, str] = {
    "Unitless": """
        percent percent %
        unity dimensionless 1
        partsPerMillion ppm ppm
        partsPerBillion ppb_billion ppb
        partsPerTrillion ppt_trillion ppt
        partsPerQuadrillion ppq ppq
    """,
    "TemperatureUnit": """
        degreeCelsius degC °C
        degreeFahrenheit degF °F
        kelvin kelvin K
    """,
    "VelocityUnit": """
        metrePerSecond m/s m/s
        centimetrePerSecond cm/s cm/s
        kilometrePerHour km/hour km/h
        kilometrePerSecond km/s km/s
        knot knot kn
        metrePerHour m/hour m/h
        milePerHour mile/hour mph
        milePerSecond mile/s mi/s
    """,
    "AccelerationUnit": """
        metrePerSecondSquared m/s**2 m/s²
        centimetrePerSecondSquared cm/s**2 cm/s²
        gForce standard_gravity gₙ
    """,
    "AngleUnit": """
        degreeOfArc degree °
        radian radian rad
        minuteOfArc arcminute ′
        secondOfArc arcsecond ″
        turn turn tr
    """,
    "AngularVelocityUnit": """
        revolutionPerMinute rpm rpm
        revolutionPerSecond turn/s rps
        degreePerSecond degree/s °/s
        radianPerSecond radian/s rad/s
    """,
    "AngularAccelerationUnit": """
        radianPerSecondSquared radian/s**2 rad/s²
    """,
    "FrequencyUnit": """
        hertz hertz Hz
        kilohertz kilohertz kHz
        megahertz megahertz MHz
        gigahertz gigahertz GHz
        millihertz millihertz mHz
    """,
    "RadioactivityUnit": """
        becquerel becquerel Bq
        kilobecquerel kilobecquerel kBq
        megabecquerel megabecquerel MBq
        gigabecquerel gigabecquerel GBq
    """,
    "LengthUnit": """
        metre meter m
        millimetre millimeter mm
        centimetre centimeter cm
        kilometre kilometer km
        micrometre micrometer µm
        nanometre nanometer nm
        inch inch in
        foot foot ft
        mile mile mi
        nauticalMile nautical_mile nmi
        astronomicalUnit astronomical_unit au
    """,
    "AreaUnit": """
        squareMetre m**2 m²
        squareMillimetre mm**2 mm²
        squareCentimetre cm**2 cm²
        squareKilometre km**2 km²
        squareInch inch**2 in²
        squareFoot foot**2 ft²
        hectare hectare ha
        acre acre ac
    """,
    "VolumeUnit": """
        cubicMetre m**3 m³
        cubicCentimetre cm**3 cm³
        cubicInch inch**3 in³
        cubicFoot foot**3 ft³
        litre liter L
        millilitre milliliter mL
        gallon gallon gal
        fluidOunce fluid_ounce fl.oz
    """,
    "VolumeFlowRateUnit": """
        litrePerMinute liter/minute L/min
        litrePerHour liter/hour L/h
        litrePerSecond liter/s L/s
        cubicMetrePerHour m**3/hour m³/h
        cubicMetrePerMinute m**3/minute m³/min
        cubicMetrePerSecond m**3/s m³/s
        millilitrePerHour milliliter/hour mL/h
        millilitrePerMinute milliliter/minute mL/min
        millilitrePerSecond milliliter/s mL/s
        cubicFootPerMinute foot**3/minute ft³/min
        gallonPerHour gallon/hour gal/h
        gallonPerMinute gallon/minute gal/min
    """,
    "TimeUnit": """
        second second s
        millisecond millisecond ms
        microsecond microsecond µs
        nanosecond nanosecond ns
        minute minute min
        hour hour h
        day day d
        year year a
    """,
    "MassUnit": """
        kilogram kilogram kg
        gram gram g
        milligram milligram mg
        microgram microgram µg
        tonne metric_ton t
        massPound pound lb
        slug slug slug
    """,
    "MassFlowRateUnit": """
        kilogramPerSecond kg/s kg/s
        kilogramPerHour kg/hour kg/h
        gramPerSecond g/s g/s
        gramPerHour g/hour g/h
        massPoundPerHour pound/hour lb/h
    """,
    "DensityUnit": """
        kilogramPerCubicMetre kg/m**3 kg/m³
        gramPerCubicMetre g/m**3 g/m³
        milligramPerCubicMetre mg/m**3 mg/m³
        microgramPerCubicMetre ug/m**3 µg/m³
    """,
    "ForceUnit": """
        newton newton N
        pound force_pound lbf
        ounce force_ounce ozf
        ton force_ton tonf
    """,
    "PressureUnit": """
        bar bar bar
        millibar millibar mbar
        pascal pascal Pa
        decapascal decapascal daPa
        hectopascal hectopascal hPa
        kilopascal kilopascal kPa
        poundPerSquareInch psi psi
        millimetresOfMercury mmHg mmHg
        inchesOfMercury inHg inHg
        inchesOfWater inH2O inH2O
    """,
    "EnergyUnit": """
        joule joule J
        kilojoule kilojoule kJ
        megajoule megajoule MJ
        gigajoule gigajoule GJ
        wattHour watt_hour Wh
        kilowattHour kilowatt_hour kWh
        megawattHour megawatt_hour MWh
        gigawattHour gigawatt_hour GWh
        terawattHour terawatt_hour TWh
        milliwattHour milliwatt_hour mWh
        electronvolt electron_volt eV
        megaelectronvolt megaelectron_volt MeV
        britishThermalUnit Btu BTU
        kiloBritishThermalUnit kBtu kBTU
    """,
    "TorqueUnit": """
        newtonMetre newton*meter N·m
    """,
    "PowerUnit": """
        watt watt W
        milliwatt milliwatt mW
        microwatt microwatt µW
        kilowatt kilowatt kW
        megawatt megawatt MW
        gigawatt gigawatt GW
        horsepower horsepower hp
        kilowattHourPerYear kilowatt_hour/year kWh/a
        joulePerSecond joule/s J/s
        joulePerHour joule/hour J/h
        kilojoulePerSecond kilojoule/s kJ/s
        kilojoulePerHour kilojoule/hour kJ/h
        megajoulePerHour megajoule/hour MJ/h
        gigajoulePerHour gigajoule/hour GJ/h
        britishThermalUnitPerHour Btu/hour BTU/h
        kiloBritishThermalUnitPerHour kBtu/hour kBTU/h
        tonOfRefrigeration refrigeration_ton TR
    """,
    "ApparentPowerUnit": """
        voltAmpere volt_ampere VA
        millivoltAmpere millivolt_ampere mVA
        kilovoltAmpere kilovolt_ampere kVA
        megavoltAmpere megavolt_ampere MVA
        gigavoltAmpere gigavolt_ampere GVA
    """,
    "ApparentEnergyUnit": """
        voltAmpereHour volt_ampere*hour VAh
        kilovoltAmpereHour kilovolt_ampere*hour kVAh
        megavoltAmpereHour megavolt_ampere*hour MVAh
        gigavoltAmpereHour gigavolt_ampere*hour GVAh
    """,
    "ReactivePowerUnit": """
        voltAmpereReactive volt_ampere_reactive var
        millivoltAmpereReactive millivolt_ampere_reactive mvar
        kilovoltAmpereReactive kilovolt_ampere_reactive kvar
        megavoltAmpereReactive megavolt_ampere_reactive Mvar
        gigavoltAmpereReactive gigavolt_ampere_reactive Gvar
    """,
    "ReactiveEnergyUnit": """
        voltAmpereReactiveHour volt_ampere_reactive*hour varh
        kilovoltAmpereReactiveHour kilovolt_ampere_reactive*hour kvarh
        megavoltAmpereReactiveHour megavolt_ampere_reactive*hour Mvarh
        gigavoltAmpereReactiveHour gigavolt_ampere_reactive*hour Gvarh
    """,
    "CurrentUnit": """
        ampere ampere A
        milliampere milliampere mA
        microampere microampere µA
        kiloampere kiloampere kA
    """,
    "VoltageUnit": """
        volt volt V
        millivolt millivolt mV
        microvolt microvolt µV
        kilovolt kilovolt kV
        megavolt megavolt MV
    """,
    "ResistanceUnit": """
        ohm ohm Ω
        milliohm milliohm mΩ
        kiloohm kiloohm kΩ
        megaohm megaohm MΩ
    """,
    "CapacitanceUnit": """
        farad farad F
        millifarad millifarad mF
        microfarad microfarad µF
        nanofarad nanofarad nF
        picofarad picofarad pF
    """,
    "InductanceUnit": """
        henry henry H
        millihenry millihenry mH
        microhenry microhenry µH
    """,
    "ChargeUnit": """
        coulomb coulomb C
        ampereHour ampere_hour Ah
        milliampereHour milliampere_hour mAh
    """,
    "MagneticFluxUnit": """
        weber weber Wb
        maxwell si_maxwell Mx
    """,
    "MagneticInductionUnit": """
        tesla tesla T
        gauss si_gauss G
    """,
    "IlluminanceUnit": """
        lux lux lx
        footcandle lumen/foot**2 fc
    """,
    "IrradianceUnit": """
        wattPerSquareMetre W/m**2 W/m²
    """,
    "IonizingRadiationDoseUnit": """
        gray gray Gy
        milligray milligray mGy
        microgray microgray µGy
        sievert sievert Sv
        millisievert millisievert mSv
        microsievert microsievert µSv
    """,
    "LuminanceUnit": """
        candelaPerSquareMetre cd/m**2 cd/m²
    """,
    "LuminousFluxUnit": """
        lumen lumen lm
    """,
    "LuminousIntensityUnit": """
        candela candela cd
    """,
    "SoundPressureUnit": """
        decibel sound_decibel dB
        bel sound_bel bel
    """,
    "DataSizeUnit": """
        bit bit bit
        byte byte B
        kibibit kibibit Kibit
        mebibit mebibit Mibit
        gibibit gibibit Gibit
        tebibit tebibit Tibit
        exbibit exbibit Eibit
        zebibit zebibit Zibit
        yobibit yobibit Yibit
        kibibyte kibibyte KiB
        mebibyte mebibyte MiB
        gibibyte gibibyte GiB
        tebibyte tebibyte TiB
        exbibyte exbibyte EiB
        zebibyte zebibyte ZiB
        yobibyte yobibyte YiB
    """,
    "DataRateUnit": """
        bitPerSecond bit/s bit/s
        bytePerSecond byte/s B/s
        kibibitPerSecond kibibit/s Kibit/s
        mebibitPerSecond mebibit/s Mibit/s
        gibibitPerSecond gibibit/s Gibit/s
        tebibitPerSecond tebibit/s Tibit/s
        exbibitPerSecond exbibit/s Eibit/s
        zebibitPerSecond zebibit/s Zibit/s
        yobibitPerSecond yobibit/s Yibit/s
        kibibytePerSecond kibibyte/s KiB/s
        mebibytePerSecond mebibyte/s MiB/s
        gibibytePerSecond gibibyte/s GiB/s
        tebibytePerSecond tebibyte/s TiB/s
        exbibytePerSecond exbibyte/s EiB/s
        zebibytePerSecond zebibyte/s ZiB/s
        yobibytePerSecond yobibyte/s YiB/s
    """,
}

UNITS: dict[str, Unit] = {
    term: Unit(expression, symbol, kind)
    for kind, rows in _ROWS.items()
    for term, expression, symbol in (row.split() for row in rows.strip().splitlines())
}
"""By DTDL term."""

SPELLINGS: dict[str, str] = {
    **{unit.symbol: term for term, unit in reversed(UNITS.items())},
    "degC": "degreeCelsius",
    "deg C": "degreeCelsius",
    "C°": "degreeCelsius",
    "℃": "degreeCelsius",
    "degF": "degreeFahrenheit",
    "deg F": "degreeFahrenheit",
    "deg": "degreeOfArc",
    "pct": "percent",
    "RPM": "revolutionPerMinute",
    "1/min": "revolutionPerMinute",
    "r/min": "revolutionPerMinute",
    "U/min": "revolutionPerMinute",
    "rev/min": "revolutionPerMinute",
    "l/min": "litrePerMinute",
    "l/h": "litrePerHour",
    "l/s": "litrePerSecond",
    "l": "litre",
    "m3/h": "cubicMetrePerHour",
    "Nm": "newtonMetre",
    "N.m": "newtonMetre",
    "Ohm": "ohm",
    "h": "hour",
    "hr": "hour",
    "sec": "second",
    "min": "minute",
    "day": "day",
}
"""How else people and machines write them; symbols first. `a` letter means what it means on a machine: `h` the hour."""

_CODES = """
    CEL=degreeCelsius FAH=degreeFahrenheit KEL=kelvin MTR=metre MMT=millimetre CMT=centimetre KMT=kilometre
    INH=inch FOT=foot SMI=mile 4H=micrometre C45=nanometre NMI=nauticalMile SEC=second MIN=minute HUR=hour
    DAY=day C26=millisecond B98=microsecond C47=nanosecond ANN=year MTS=metrePerSecond C16=mm/s H81=mm/min
    2M=centimetrePerSecond KMH=kilometrePerHour HM=milePerHour KNT=knot MSK=metrePerSecondSquared K40=gForce
    RPM=revolutionPerMinute RPS=revolutionPerSecond 2A=radianPerSecond E96=degreePerSecond HTZ=hertz
    KHZ=kilohertz MHZ=megahertz A86=gigahertz BAR=bar MBR=millibar PAL=pascal KPA=kilopascal A97=hectopascal
    MPA=MPa PS=poundPerSquareInch HN=millimetresOfMercury F79=inchesOfMercury F78=inchesOfWater WTT=watt
    KWT=kilowatt MAW=megawatt A90=gigawatt C31=milliwatt D80=microwatt VLT=volt KVT=kilovolt 2Z=millivolt
    D82=microvolt B78=megavolt AMP=ampere 4K=milliampere B84=microampere B22=kiloampere OHM=ohm B49=kiloohm
    B75=megaohm E45=milliohm NEW=newton B47=kN NU=newtonMetre JOU=joule KJO=kilojoule 3B=megajoule GV=gigajoule
    WHR=wattHour KWH=kilowattHour MWH=megawattHour GWH=gigawattHour D32=terawattHour A53=electronvolt
    BTU=britishThermalUnit GRM=gram KGM=kilogram MGM=milligram MC=microgram TNE=tonne LBR=massPound LTR=litre
    MLT=millilitre MTQ=cubicMetre CMQ=cubicCentimetre INQ=cubicInch FTQ=cubicFoot GLL=gallon OZA=fluidOunce
    L2=litrePerMinute E32=litrePerHour G51=litrePerSecond MQH=cubicMetrePerHour MQS=cubicMetrePerSecond
    G53=cubicMetrePerMinute 41=millilitrePerMinute 40=millilitrePerSecond G55=millilitrePerHour
    2L=cubicFootPerMinute G2=gallonPerMinute G50=gallonPerHour KGS=kilogramPerSecond E93=kilogramPerHour
    MTK=squareMetre CMK=squareCentimetre MMK=squareMillimetre KMK=squareKilometre HAR=hectare ACR=acre
    INK=squareInch FTK=squareFoot DD=degreeOfArc C81=radian D61=minuteOfArc D62=secondOfArc P1=percent
    59=partsPerMillion 61=partsPerBillion C62=unity FAR=farad 4T=picofarad C41=nanofarad 4O=microfarad
    C10=millifarad 81=henry B90=microhenry C14=millihenry COU=coulomb AMH=ampereHour E09=milliampereHour
    WEB=weber D33=tesla LUX=lux LUM=lumen CDL=candela A24=candelaPerSquareMetre KMQ=kilogramPerCubicMetre
    A93=gramPerCubicMetre GP=milligramPerCubicMetre GQ=microgramPerCubicMetre BQL=becquerel A95=gray D13=sievert
    2N=decibel M72=bel A99=bit AD=byte B10=bitPerSecond P93=bytePerSecond D46=voltAmpere KVA=kilovoltAmpere
    MVA=megavoltAmpere D44=voltAmpereReactive KVR=kilovoltAmpereReactive MAR=megavoltAmpereReactive
    D54=wattPerSquareMetre M46=revolutionPerMinute M60=metrePerHour M62=kilometrePerSecond
    M58=milePerSecond M39=centimetrePerSecondSquared A12=astronomicalUnit F13=slug 2B=radianPerSecondSquared C78=pound
    L40=ounce L94=ton F27=gramPerHour F29=gramPerSecond 4U=massPoundPerHour B71=megaelectronvolt
    H75=decapascal KTM=kilometre
"""

UNECE_CODES: dict[str, str] = {code: name for code, _, name in (pair.partition("=") for pair in _CODES.split())}
"""UNECE Recommendation 20 common codes, as OPC UA's EngineeringUnits use them (namespace .../UA/units/un/cefact)."""
